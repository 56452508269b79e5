package messaging

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/messaging/commands"
	"user-service/platform/correlation"
	"user-service/platform/servertest"
)

func pushTo(user string) commands.SendPush {
	return commands.SendPush{
		RequestID: uuid.NewString(), UserID: user, TemplateCode: "welcome_notification", Priority: 7,
		Variables: map[string]json.RawMessage{"name": json.RawMessage(`"Ada"`)}, Metadata: map[string]json.RawMessage{},
	}
}

func (s sender) push(t testing.TB, c commands.SendPush) {
	t.Helper()
	ctx := correlation.With(t.Context(), correlation.IDs{Correlation: "request-7"})
	require.NoError(t, s.db.InTx(ctx, func(ctx context.Context) error { return s.Send(ctx, c) }))
}

func TestPushMessageArrivesInTheContractsForm(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	user := newUser()
	sent := pushTo(user)
	require.ErrorIs(t, s.Send(t.Context(), sent), errOutsideTx)
	s.push(t, sent)
	require.Len(t, s.outbox.wakePush, 1)
	require.Empty(t, s.outbox.wake)
	s.relay(t, b, NewPublisher(b.connect(t)))

	d := b.take(t, b.topology.PushQueue)
	require.JSONEq(t, `{
		"notification_type": "push", "user_id": "`+user+`", "template_code": "welcome_notification", "variables": {"name": "Ada"},
		"request_id": "`+sent.RequestID+`", "priority": 7, "metadata": {}}`, string(d.Body))
	require.Equal(t, []string{"notifications.direct", "push", sent.RequestID, "request-7", "application/json"},
		[]string{d.Exchange, d.RoutingKey, d.MessageId, d.CorrelationId, d.ContentType})
	require.Equal(t, []uint8{amqp.Persistent, 7}, []uint8{d.DeliveryMode, d.Priority})
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "a message that left is gone")
	var numbers int
	require.NoError(t, s.db.Get(t.Context(), &numbers, "SELECT count(*) FROM messaging.sequences"))
	require.Zero(t, numbers, "the events' numbers have no gaps")
}

// TestPushMessageThatNoQueueTakesHoldsUpNothingElse has the queue refuse what is too much for it.
func TestPushMessageThatNoQueueTakesHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
	require.NoError(t, err)
	_, err = b.ch.QueueDeclare(b.topology.PushQueue, true, false, false, false, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	require.NoError(t, err)
	require.NoError(t, b.ch.QueueBind(b.topology.PushQueue, pushKey, b.topology.Exchange, false, nil))
	user := newUser()
	first, second := pushTo(user), pushTo(user)
	second.Variables["name"] = json.RawMessage(`"half of a letter: \ud800"`) // which the database stores and cannot read
	s.push(t, first)
	s.push(t, second)
	s.relay(t, b, NewPublisher(b.connect(t)))
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 1 }, "as many as there is room for")
	s.mail(t, mailTo(user))
	s.publish(t, changed(user))
	b.take(t, emailQueue)
	receive(t, arrived)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 1 }, "only the second is kept")
	require.Equal(t, first.RequestID, b.take(t, b.topology.PushQueue).MessageId)
	require.Equal(t, second.RequestID, b.take(t, b.topology.PushQueue).MessageId)
}
