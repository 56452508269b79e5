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

// Publish implements message.Publisher. The messages of one call share one context.
func (o *Outbox) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx := messages[0].Context()
	// watermill-sql executes with a background context, so each call gets an executor that knows
	// the one of the message, and with it the transaction.
	publisher, err := wsql.NewPublisher(executor{ctx, o.db}, wsql.PublisherConfig{SchemaAdapter: outboxSchema{}}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	if err := publisher.Publish(topic, messages...); err != nil {
		return err
	}
	wake := o.wake
	switch topic {
	case mailTopic:
		wake = o.wakeMail
	case pushTopic:
		wake = o.wakePush
	}
	return postgres.AfterCommit(ctx, func(context.Context) { ring(wake) })
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

// insertOutbox locks the number until the transaction ends, so that the positions of one user and
// source rise in the order of commits.
const insertOutbox = `
	WITH next AS (
		INSERT INTO messaging.sequences AS s (subject, source, last) VALUES ($1, $2, 1)
		ON CONFLICT (subject, source) DO UPDATE SET last = s.last + 1
		RETURNING last)
	INSERT INTO messaging.outbox (id, topic, source, subject, sequence, correlation_id, traceparent, data)
	SELECT $3, $4, $2, $1, last, $5, $6, $7 FROM next`

const insertCommand = `
	INSERT INTO messaging.outbox (subject, source, id, topic, sequence, correlation_id, traceparent, data)
	VALUES ($1, $2, $3, $4, 0, $5, $6, $7)`

// InsertQuery implements wsql.SchemaAdapter.
func (outboxSchema) InsertQuery(topic string, messages message.Messages) (wsql.Query, error) {
	if len(messages) != 1 {
		return wsql.Query{}, errors.New("messaging: the outbox takes one message at a time")
	}
	msg, insert := messages[0], insertOutbox
	if topic == mailTopic || topic == pushTopic {
		insert = insertCommand
	}
	return wsql.Query{Query: insert, Args: []any{
		msg.Metadata[metaSubject], msg.Metadata[metaSource], msg.UUID, topic,
		msg.Metadata[metaCorrelation], msg.Metadata[metaTraceparent], json.RawMessage(msg.Payload),
	}}, nil
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
