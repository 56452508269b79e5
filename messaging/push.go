package messaging

import (
	"context"
	"encoding/json"

	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/messaging/commands"
)

const (
	pushTopic  = "push" // of a row of the outbox
	pushSource = "push message"
)

// sendPush is the handler of commands.SendPush.
func (o *Outbox) sendPush(ctx context.Context, c *commands.SendPush) error {
	return o.send(ctx, pushTopic, pushSource, c.UserID, c)
}

// pushMessage is a notification on its way to push.queue, CONTRACT "Consumed: push.queue".
type pushMessage struct {
	NotificationType string `json:"notification_type"`
	commands.SendPush
}

// push is mandatory, as a mail is.
func (r outboxRow) push(t Topology) (outgoing, error) {
	m := pushMessage{NotificationType: "push"}
	if err := json.Unmarshal(r.Data, &m.SendPush); err != nil {
		return outgoing{}, err
	}
	body, err := json.Marshal(m)
	return outgoing{exchange: t.Exchange, key: pushKey, mandatory: true, Publishing: amqp.Publishing{
		Headers: r.headers(), ContentType: "application/json", MessageId: m.RequestID, CorrelationId: r.CorrelationID,
		Priority:  uint8(m.Priority), //nolint:gosec // from 1 to 10
		Timestamp: r.CreatedAt, Body: body,
	}}, err
}
