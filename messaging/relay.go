package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Relay carries the outbox to RabbitMQ. Any number may run: one at a time carries, in order.
type Relay struct {
	Outbox    *Outbox
	Publisher *Publisher
	Topology  Topology
	Log       *slog.Logger
}

// Run carries until ctx ends. A batch under way is finished, for grace at the most.
func (r Relay) Run(ctx context.Context, grace time.Duration) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: grace}, watermill.NewSlogLogger(quiet(r.Log)))
	if err != nil {
		return err
	}
	subscriber := newOutboxSubscriber(r.Outbox, r.Publisher.conn, r.Log)
	router.AddConsumerHandler("relay", "outbox", subscriber, r.carry)
	return runRouter(ctx, router, subscriber)
}

func (r Relay) carry(batch *message.Message) error {
	rows := batchOf(batch)
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
				CorrelationId: row.CorrelationID, Timestamp: row.CreatedAt, Body: event,
			},
		}
		if row.Traceparent != "" {
			messages[i].Headers = amqp.Table{metaTraceparent: row.Traceparent}
		}
	}
	return r.Publisher.publish(batch.Context(), messages...)
}
