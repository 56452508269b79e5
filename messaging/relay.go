package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/platform/postgres"
	"user-service/platform/telemetry"
)

// RelayConnections are as many as a relay has lanes.
const RelayConnections = 3

// Relay carries the outbox to RabbitMQ. Any number may run: one at a time carries the events, in
// order, one the mails, and one the messages for push.queue.
type Relay struct {
	DB        *postgres.DB // with connections of its own, RelayConnections that go by index
	Outbox    *Outbox
	Publisher *Publisher
	Topology  Topology
	Tracer    *telemetry.Tracer // nil: none
	Log       *slog.Logger
}

// Run carries until ctx ends. A batch under way is finished, for grace at the most.
func (r Relay) Run(ctx context.Context, grace time.Duration) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: grace}, newQuiet(r.Log))
	if err != nil {
		return err
	}
	events := newOutboxSubscriber(r.DB, r.Outbox, eventLane, r.Outbox.wake, r.Publisher.conn, r.Log)
	mails := newOutboxSubscriber(r.DB, r.Outbox, mailLane, r.Outbox.wakeMail, r.Publisher.conn, r.Log)
	pushes := newOutboxSubscriber(r.DB, r.Outbox, pushLane, r.Outbox.wakePush, r.Publisher.conn, r.Log)
	router.AddConsumerHandler("relay of "+eventLane.name, eventLane.name, events, r.carryEvents)
	router.AddConsumerHandler("relay of "+mailLane.name, mailLane.name, mails, r.carryEach(outboxRow.email))
	router.AddConsumerHandler("relay of "+pushLane.name, pushLane.name, pushes, r.carryEach(outboxRow.push))
	return runRouter(ctx, router, events, mails, pushes)
}

func (r Relay) carryEvents(msg *message.Message) (err error) {
	rows := batchOf(msg).rows
	done := traceRows(msg.Context(), r.Tracer, rows, r.Topology.Events)
	defer func() { done(err != nil) }()
	messages := make([]outgoing, len(rows))
	for i, row := range rows {
		event, err := row.cloudEvent()
		if err != nil {
			return fmt.Errorf("event %s: %w", row.ID, err)
		}
		messages[i] = outgoing{
			exchange: r.Topology.Events, key: row.Topic, // not mandatory: an event nobody has bound yet is fine to drop
			Publishing: amqp.Publishing{
				ContentType: cloudEventType, MessageId: row.ID.String(), Type: row.Topic,
				CorrelationId: row.CorrelationID, Timestamp: row.CreatedAt, Headers: row.headers(), Body: event,
			},
		}
	}
	return r.Publisher.publish(msg.Context(), messages...)
}

// carryEach fails for as long as no queue takes a message; each time the publisher declares again what
// may have been deleted.
func (r Relay) carryEach(outgoingOf func(outboxRow, Topology) (outgoing, error)) func(*message.Message) error {
	return func(msg *message.Message) (err error) {
		batch := batchOf(msg)
		rows := slices.Clone(batch.rows) // those that are refused stay as they are
		done := traceRows(msg.Context(), r.Tracer, rows, rows[0].Topic)
		defer func() { done(err != nil) }()
		messages := make([]outgoing, len(rows))
		for i, row := range rows {
			if messages[i], err = outgoingOf(row, r.Topology); err != nil {
				return fmt.Errorf("%s %s: %w", row.Topic, row.ID, err)
			}
		}
		err = r.Publisher.publish(msg.Context(), messages...)
		if err != nil {
			batch.part(messages)
			err = fmt.Errorf("%s: %w", rows[0].Topic, err)
		}
		return err
	}
}
