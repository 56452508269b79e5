package messaging

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/postgres"
)

// Outbox keeps what is to leave the service, in the transaction of its cause.
type Outbox struct {
	db       *postgres.DB
	wake     chan struct{} // the relay of this process: there is an event to carry
	wakeMail chan struct{} // likewise, a mail
	wakePush chan struct{} // likewise, a message for push.queue
	lag      *prometheus.HistogramVec
}

// NewOutbox makes the outbox of db.
func NewOutbox(db *postgres.DB) *Outbox {
	return &Outbox{
		db: db, wake: make(chan struct{}, 1), wakeMail: make(chan struct{}, 1), wakePush: make(chan struct{}, 1), lag: newOutboxLag(),
	}
}

// Publish implements message.Publisher. The messages of one call share one context. They are written when
// all else of its transaction is done: its events by one statement, so that the numbers of a user are locked
// for the shortest time, and always in the same order.
func (o *Outbox) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx := messages[0].Context()
	waiting, err := postgres.Local[unwritten](ctx, o)
	if err != nil {
		return err
	}
	if len(waiting.commands)+len(waiting.events) == 0 { // the first since it was written last
		if err := postgres.BeforeCommit(ctx, func(ctx context.Context) error { return o.write(ctx, waiting) }); err != nil {
			return err
		}
	}
	wake := o.wake
	switch topic {
	case mailTopic:
		wake = o.wakeMail
		waiting.commands = append(waiting.commands, messages...)
	case pushTopic:
		wake = o.wakePush
		waiting.commands = append(waiting.commands, messages...)
	default:
		waiting.events = append(waiting.events, messages...)
	}
	return postgres.AfterCommit(ctx, func(context.Context) { ring(wake) })
}

// unwritten is what a transaction has for the outbox.
type unwritten struct{ commands, events message.Messages }

// write leaves nothing behind: what a later hook publishes has a hook of its own.
func (o *Outbox) write(ctx context.Context, waiting *unwritten) error {
	all := *waiting
	*waiting = unwritten{}
	// watermill-sql executes with a background context, so each transaction gets an executor that knows its own.
	publisher, err := wsql.NewPublisher(executor{ctx, o.db}, wsql.PublisherConfig{SchemaAdapter: outboxSchema{}}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	for _, command := range all.commands {
		if err := publisher.Publish(command.Metadata[metaTopic], command); err != nil {
			return err
		}
	}
	if len(all.events) == 0 {
		return nil
	}
	return publisher.Publish(all.events[0].Metadata[metaTopic], all.events...)
}

// Close implements message.Publisher.
func (o *Outbox) Close() error { return nil }

func ring(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it has not looked since the last ring
	}
}

// outboxSchema writes one row for each message: an event with the next number of its user and source,
// a command to another service without.
type outboxSchema struct{ wsql.DefaultPostgreSQLSchema }

// insertEvents locks the numbers until the transaction ends, so that the positions of one user and
// source rise in the order of commits; always in the same order, or two of them could each wait for a
// number of the other. The last of a user and source gets the last number, and from there it goes back.
const insertEvents = `
	WITH told AS MATERIALIZED (SELECT * FROM json_to_recordset($1) AS t (
		n integer, id uuid, topic text, source text, subject text, correlation_id text, traceparent text, data json)),
	next AS (
		INSERT INTO messaging.sequences AS s (subject, source, last)
		SELECT subject, source, count(*) FROM told GROUP BY subject, source ORDER BY subject, source
		ON CONFLICT (subject, source) DO UPDATE SET last = s.last + EXCLUDED.last
		RETURNING subject, source, last)
	INSERT INTO messaging.outbox (id, topic, source, subject, sequence, correlation_id, traceparent, data)
	SELECT id, topic, source, subject, last + 1 - row_number() OVER (PARTITION BY subject, source ORDER BY n DESC),
		correlation_id, traceparent, data
	FROM told JOIN next USING (subject, source) ORDER BY n`

// insertEvent is insertEvents for one, as most are: it costs the database half as much.
const insertEvent = `
	WITH next AS (
		INSERT INTO messaging.sequences AS s (subject, source, last) VALUES ($1, $2, 1)
		ON CONFLICT (subject, source) DO UPDATE SET last = s.last + 1
		RETURNING subject, source, last)
	INSERT INTO messaging.outbox (subject, source, id, topic, sequence, correlation_id, traceparent, data)
	SELECT subject, source, $3, $4, last, $5, $6, $7 FROM next`

const insertCommand = `
	INSERT INTO messaging.outbox (subject, source, id, topic, sequence, correlation_id, traceparent, data)
	VALUES ($1, $2, $3, $4, 0, $5, $6, $7)`

// InsertQuery implements wsql.SchemaAdapter.
func (outboxSchema) InsertQuery(topic string, messages message.Messages) (wsql.Query, error) {
	command := topic == mailTopic || topic == pushTopic
	switch {
	case len(messages) == 1 && command:
		return insertOne(insertCommand, topic, messages[0]), nil
	case len(messages) == 1:
		return insertOne(insertEvent, topic, messages[0]), nil
	case command:
		return wsql.Query{}, errors.New("messaging: the outbox takes one command at a time")
	}
	rows := make([]toldRow, len(messages))
	for n, msg := range messages {
		rows[n] = toldRow{
			n, msg.UUID, msg.Metadata[metaTopic], msg.Metadata[metaSource], msg.Metadata[metaSubject],
			msg.Metadata[metaCorrelation], msg.Metadata[metaTraceparent], json.RawMessage(msg.Payload),
		}
	}
	told, err := json.Marshal(rows)
	return wsql.Query{Query: insertEvents, Args: []any{told}}, err
}

func insertOne(statement, topic string, msg *message.Message) wsql.Query {
	return wsql.Query{Query: statement, Args: []any{
		msg.Metadata[metaSubject], msg.Metadata[metaSource], msg.UUID, topic,
		msg.Metadata[metaCorrelation], msg.Metadata[metaTraceparent], json.RawMessage(msg.Payload),
	}}
}

// toldRow is an event on its way into the outbox. They are given as JSON, since of an array the planner
// knows the length, and would make a plan for each.
type toldRow struct {
	N             int             `json:"n"`
	ID            string          `json:"id"`
	Topic         string          `json:"topic"`
	Source        string          `json:"source"`
	Subject       string          `json:"subject"`
	CorrelationID string          `json:"correlation_id"`
	Traceparent   string          `json:"traceparent"`
	Data          json.RawMessage `json:"data"`
}

// executor is watermill-sql's door to the transaction of ctx.
type executor struct {
	ctx context.Context
	db  *postgres.DB
}

// ExecContext implements wsql.ContextExecutor, with the message's context instead of Watermill's.
func (e executor) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	rows, err := e.db.Exec(e.ctx, query, args...)
	return driverResult(rows), err
}

// Exec implements wsql.ContextExecutor.
func (e executor) Exec(query string, args ...any) (sql.Result, error) {
	return e.ExecContext(e.ctx, query, args...)
}

var errOnlyWrites = errors.New("messaging: the outbox is only written through watermill-sql")

// Query implements wsql.ContextExecutor.
func (executor) Query(string, ...any) (*sql.Rows, error) { return nil, errOnlyWrites }

// QueryContext implements wsql.ContextExecutor.
func (executor) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errOnlyWrites
}

// QueryRow implements wsql.ContextExecutor.
func (executor) QueryRow(string, ...any) *sql.Row { return nil }

// QueryRowContext implements wsql.ContextExecutor.
func (executor) QueryRowContext(context.Context, string, ...any) *sql.Row { return nil }

type driverResult int64

func (r driverResult) LastInsertId() (int64, error) { return 0, errOnlyWrites }
func (r driverResult) RowsAffected() (int64, error) { return int64(r), nil }
