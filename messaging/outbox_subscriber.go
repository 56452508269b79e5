package messaging

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/platform/postgres"
)

const (
	relayPoll  = time.Second           // the safety net: a ring may come from another process, or be lost
	relayPause = time.Second           // after a batch that could not be carried
	relayTurn  = 20 * time.Millisecond // while another relay is at work: it may not see what this one was woken for
)

// lane is one of the ways out of the outbox. A mail that no queue takes waits there for as long as it
// must, and holds up nothing else.
type lane struct {
	name   string
	rows   string // the condition that picks them
	batch  int
	linger time.Duration // after it was woken, for more to come: each batch costs a transaction and a confirm
	crowd  int           // it lingers when the batch before had so many
	lock   int64         // who holds it carries, and nobody waits for it inside a transaction
}

// take deletes a batch, unless somebody else is at it: the rows are back when the transaction is
// not committed. The commit need not reach the disk: should the database crash, the batch is carried
// once more. It looks one row further, to know whether there is more.
func (l lane) take() string {
	return `
	WITH leader AS MATERIALIZED (
		SELECT pg_try_advisory_xact_lock($2) AS leads, set_config('synchronous_commit', 'off', true)),
	next AS MATERIALIZED (
		SELECT position FROM messaging.outbox WHERE (SELECT leads FROM leader) AND ` + l.rows + ` ORDER BY position LIMIT $1 + 1)
	DELETE FROM messaging.outbox WHERE position = ANY (ARRAY(SELECT position FROM next ORDER BY position LIMIT $1))
	RETURNING position, id, topic, source, subject, sequence, correlation_id, traceparent, data, created_at,
		extract(epoch FROM clock_timestamp() - created_at) AS waited, (SELECT count(*) FROM next) > $1 AS more`
}

var (
	// An event that comes alone leaves at once. From a thousand a second on, batches would be of five or six, and
	// the larger ones cost a push message a tenth less; for that, events are some 25 ms older then.
	eventLane = lane{name: "events", rows: "topic NOT IN ('email', 'push')", batch: 500, linger: 25 * time.Millisecond, crowd: 5, lock: 0x6f7574626f78}
	// Nobody sees whether a mail left a tenth of a second earlier.
	mailLane = lane{name: "mails", rows: "topic = 'email'", batch: 20, linger: 100 * time.Millisecond, lock: 0x6f7574626f79}
	pushLane = lane{name: "pushes", rows: "topic = 'push'", batch: 20, lock: 0x6f7574626f7a}
)

// outboxSubscriber reads the outbox: one Watermill message is one batch of rows, found by
// batchOf. An ack deletes them, in the transaction that read them; a nack leaves them, but for
// those that left all the same.
type outboxSubscriber struct {
	lane lane
	db   *postgres.DB
	lag  prometheus.Observer
	wake <-chan struct{}
	conn *Connection // over which the rows will leave
	log  *slog.Logger

	closing   chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup
}

func newOutboxSubscriber(db *postgres.DB, o *Outbox, l lane, wake <-chan struct{}, conn *Connection, log *slog.Logger) *outboxSubscriber {
	return &outboxSubscriber{
		lane: l, db: db, lag: o.lag.WithLabelValues(l.name), wake: wake, conn: conn,
		log: log.With("logger", "relay", "lane", l.name), closing: make(chan struct{}),
	}
}

// outboxRow is one message on its way out.
type outboxRow struct {
	Position      int64           `db:"position"`
	ID            uuid.UUID       `db:"id"`
	Topic         string          `db:"topic"`
	Source        string          `db:"source"`
	Subject       string          `db:"subject"`
	Sequence      int64           `db:"sequence"`
	CorrelationID string          `db:"correlation_id"`
	Traceparent   string          `db:"traceparent"`
	Data          json.RawMessage `db:"data"`
	CreatedAt     time.Time       `db:"created_at"`
	Waited        float64         `db:"waited"` // seconds until it was taken, by the database's clock alone
	More          bool            `db:"more"`   // rows wait behind its batch
}

func (r outboxRow) headers() amqp.Table {
	if r.Traceparent == "" {
		return nil
	}
	return amqp.Table{metaTraceparent: r.Traceparent}
}

// outboxBatch is what one message of the subscriber carries.
type outboxBatch struct {
	rows          []outboxRow
	left, refused []outboxRow // of one that could not leave as a whole
}

type batchKey struct{}

func batchOf(msg *message.Message) *outboxBatch {
	batch, _ := msg.Context().Value(batchKey{}).(*outboxBatch)
	return batch
}

// more tells whether rows wait behind it.
func (b *outboxBatch) more() bool { return len(b.rows) > 0 && b.rows[0].More }

// part parts a batch that could not leave as a whole.
func (b *outboxBatch) part(messages []outgoing) {
	for i, row := range b.rows {
		if messages[i].taken {
			b.left = append(b.left, row)
		} else {
			b.refused = append(b.refused, row)
		}
	}
}

// Subscribe implements message.Subscriber.
func (s *outboxSubscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	ctx = untilClosed(ctx, s.closing)
	out := make(chan *message.Message)
	s.running.Go(func() {
		defer close(out)
		// Without the broker no transaction is opened: it would have to wait, and hold up vacuum.
		for s.conn.wait(ctx) == nil {
			batch, err := s.carry(ctx, out)
			switch {
			case errors.Is(err, errNotMyTurn):
				s.rest(ctx, relayTurn, nil)
			case err != nil && !errors.Is(err, ErrStopping):
				s.log.Warn("outbox not carried, trying again", "error", err)
				s.rest(ctx, relayPause, nil)
			case !batch.more():
				s.rest(ctx, relayPoll, s.wake)
				if len(batch.rows) >= s.lane.crowd {
					s.rest(ctx, s.lane.linger, nil)
				}
			}
		}
	})
	return out, nil
}

// Close implements message.Subscriber. It returns when the batch under way has been settled.
func (s *outboxSubscriber) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	s.running.Wait()
	return nil
}

func (s *outboxSubscriber) rest(ctx context.Context, pause time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

var (
	errNotCarried = errors.New("the batch was not confirmed")
	errNotMyTurn  = errors.New("another relay is at work")
)

// carry hands one batch out and waits for its fate.
func (s *outboxSubscriber) carry(ctx context.Context, out chan<- *message.Message) (batch *outboxBatch, err error) {
	ctx, ending := context.WithoutCancel(ctx), ctx.Done() // a batch under way is finished nonetheless
	batch = new(outboxBatch)
	var partly error
	err = s.db.InTx(ctx, func(tx context.Context) error {
		if err := s.db.Select(tx, &batch.rows, s.lane.take(), s.lane.batch, s.lane.lock); err != nil {
			return fmt.Errorf("take a batch: %w", err)
		}
		taken := time.Now()
		rows := batch.rows
		if len(rows) == 0 {
			return s.checkTurn(tx)
		}
		slices.SortFunc(rows, func(a, b outboxRow) int { return cmp.Compare(a.Position, b.Position) })
		msg := message.NewMessage(rows[0].ID.String(), nil)
		msg.SetContext(context.WithValue(ctx, batchKey{}, batch))
		select {
		case out <- msg:
		case <-ending:
			return ErrStopping
		}
		select {
		case <-msg.Acked():
			s.observe(rows, taken)
			return nil
		case <-msg.Nacked():
			if len(batch.left) == 0 {
				return errNotCarried
			}
			s.observe(batch.left, taken)
			partly = errNotCarried
			return s.putBack(tx, batch.refused)
		}
	})
	return batch, errors.Join(err, partly)
}

func (s *outboxSubscriber) observe(rows []outboxRow, taken time.Time) {
	for _, row := range rows {
		s.lag.Observe(row.Waited + time.Since(taken).Seconds())
	}
}

// putBack has rows that were taken lie where they lay: those that left shall not be sent again, by no relay.
// They are few, and it is seldom.
func (s *outboxSubscriber) putBack(tx context.Context, rows []outboxRow) error {
	for _, r := range rows {
		if _, err := s.db.Exec(tx, `
			INSERT INTO messaging.outbox (position, id, topic, source, subject, sequence, correlation_id, traceparent, data, created_at)
			OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			r.Position, r.ID, r.Topic, r.Source, r.Subject, r.Sequence, r.CorrelationID, r.Traceparent, r.Data, r.CreatedAt); err != nil {
			return fmt.Errorf("put a row back: %w", err)
		}
	}
	return nil
}

// checkTurn says why there was nothing to take. Who leads gets the lock as often as it asks.
func (s *outboxSubscriber) checkTurn(tx context.Context) error {
	var leads bool
	err := s.db.Get(tx, &leads, `SELECT pg_try_advisory_xact_lock($1)`, s.lane.lock)
	if err == nil && !leads {
		err = errNotMyTurn
	}
	return err
}
