package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/messaging/commands"
	"user-service/platform/correlation"
	"user-service/platform/servertest"
)

func mailTo(user string) commands.SendEmail {
	return commands.SendEmail{
		UserID: user, Email: "ada@example.com", Name: "Ada", TemplateCode: commands.TemplateVerification,
		Link: "https://example.com/verify-email?token=abc", Token: "abc", ExpiresInMinutes: 1440,
	}
}

// mail has one transaction for each mail.
func (s sender) mail(t testing.TB, all ...commands.SendEmail) {
	t.Helper()
	for _, c := range all {
		require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error { return s.Send(ctx, c) }))
	}
}

func TestMailArrivesInTheContractsForm(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	user := newUser()
	ids := correlation.IDs{Correlation: "request-7", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	before := time.Now().Add(-time.Minute)
	require.NoError(t, s.db.InTx(correlation.With(t.Context(), ids), func(ctx context.Context) error { return s.Send(ctx, mailTo(user)) }))
	id := s.rows(t)[0].ID.String()
	s.relay(t, b, NewPublisher(b.connect(t)))

	d := b.take(t, emailQueue)
	require.JSONEq(t, `{
		"notification_type": "email", "user_id": "`+user+`", "template_code": "email_verification",
		"variables": {"name": "Ada", "link": "https://example.com/verify-email?token=abc", "token": "abc", "expires_in_minutes": 1440},
		"request_id": "`+id+`", "priority": 5, "metadata": {"email": "ada@example.com"}}`, string(d.Body))
	require.NoError(t, uuid.Validate(id))
	require.Equal(t, []string{"notifications.direct", "email", id, "request-7", "application/json"},
		[]string{d.Exchange, d.RoutingKey, d.MessageId, d.CorrelationId, d.ContentType})
	require.Equal(t, amqp.Persistent, d.DeliveryMode)
	require.Equal(t, uint8(5), d.Priority)
	require.Equal(t, amqp.Table{"traceparent": ids.Traceparent}, d.Headers)
	require.WithinRange(t, d.Timestamp, before, time.Now().Add(time.Minute))
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "a mail that left is gone")
	require.Zero(t, b.depth(t, emailQueue))
}

func TestMailLeavesOnlyWithItsTransaction(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	changedMind := errors.New("changed my mind")
	require.ErrorIs(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, s.Send(ctx, mailTo(newUser())))
		return changedMind
	}), changedMind)
	require.ErrorIs(t, s.Send(t.Context(), mailTo(newUser())), errOutsideTx)
	require.Empty(t, s.rows(t))
	require.Empty(t, s.outbox.wakeMail)

	s.mail(t, mailTo(newUser()))
	require.Len(t, s.rows(t), 1)
	require.Len(t, s.outbox.wakeMail, 1)
	require.Empty(t, s.outbox.wake)
}

func TestMailTakesNoNumberFromTheEvents(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	user := newUser()
	for range 3 {
		s.publish(t, changed(user))
		s.mail(t, mailTo(user))
	}
	var counters int
	require.NoError(t, s.db.Get(t.Context(), &counters, "SELECT count(*) FROM messaging.sequences"))
	require.Equal(t, 1, counters)
	s.relay(t, b, NewPublisher(b.connect(t)))
	require.Equal(t, map[string][]string{user: {"0000000001", "0000000002", "0000000003"}}, numbered(t, arrived, 3))
	servertest.Eventually(t, func() bool { return b.depth(t, emailQueue) == 3 }, "the mails")
	require.Empty(t, arrived, "no mail among the events")
}

func TestMailWakesTheRelay(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	s.relay(t, b, NewPublisher(b.connect(t)))
	start := time.Now()
	const mails = 10
	for range mails {
		s.mail(t, mailTo(newUser()))
		b.take(t, emailQueue)
	}
	require.Less(t, time.Since(start), mails*relayPoll/4, "the poll alone would need half of its interval for each")
}

// TestMailThatNoQueueTakesWaitsAndHoldsUpNoEvent has mails go where nothing is bound, and nothing is
// when the topology is declared again.
func TestMailThatNoQueueTakesWaitsAndHoldsUpNoEvent(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	const astray = "astray.direct"
	require.NoError(t, b.ch.ExchangeDeclare(astray, amqp.ExchangeDirect, true, false, false, false, nil))
	conn := b.connect(t)
	b.topology.Exchange = astray
	s.relay(t, b, NewPublisher(conn))

	user := newUser()
	for range 3 { // each a round in which the mail fails anew
		s.mail(t, mailTo(user))
		s.publish(t, changed(user))
		s.awaitMailTry(t)
	}
	require.Equal(t, []string{"0000000001", "0000000002", "0000000003"}, numbered(t, arrived, 3)[user])
	require.Len(t, s.rows(t), 3, "the mails are kept")

	require.NoError(t, b.ch.QueueBind(emailQueue, emailKey, astray, false, nil))
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the mails have left")
	require.Equal(t, 3, b.depth(t, emailQueue), "each once")
	require.Empty(t, arrived, "no event came twice")
}

// awaitMailTry waits until the relay has begun and given up another try to carry a mail.
func (s sender) awaitMailTry(t testing.TB) {
	t.Helper()
	held := func() (held bool) {
		const locks = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE datname = current_database() AND locktype = 'advisory' AND (classid::bigint << 32) + objid::bigint = $1)`
		require.NoError(t, s.db.Get(t.Context(), &held, locks, mailLane.lock))
		return held
	}
	servertest.Eventually(t, held, "the relay tries")
	servertest.Eventually(t, func() bool { return !held() }, "and gives up")
}

func TestMailFindsAQueueThatWasLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(b *broker) error{
		"deleted": func(b *broker) error { _, err := b.ch.QueueDelete(emailQueue, false, false, false); return err },
		"unbound": func(b *broker) error { return b.ch.QueueUnbind(emailQueue, emailKey, b.topology.Exchange, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSender(t), newBroker(t)
			s.relay(t, b, NewPublisher(b.connect(t)))
			s.mail(t, mailTo(newUser()))
			b.take(t, emailQueue)
			require.NoError(t, lose(b))
			user := newUser()
			s.mail(t, mailTo(user))
			servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the mail has left")
			require.Contains(t, string(b.take(t, emailQueue).Body), user)
			require.Zero(t, b.depth(t, emailQueue))
		})
	}
}

// TestMailsThatAFullQueueRefusesComeOnceEach is what an operator's limit on email.queue may bring about, with
// relays that take turns.
func TestMailsThatAFullQueueRefusesComeOnceEach(t *testing.T) {
	t.Parallel()
	const mails = 6
	s, b := newSender(t), newBroker(t)
	_, err := b.ch.QueueDelete(emailQueue, false, false, false)
	require.NoError(t, err)
	_, err = b.ch.QueueDeclare(emailQueue, true, false, false, false, amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"})
	require.NoError(t, err)
	for range mails {
		s.mail(t, mailTo(newUser()))
	}
	before := s.rows(t)
	for range 3 {
		s.relay(t, b, NewPublisher(b.connect(t)))
	}
	servertest.Eventually(t, func() bool { return b.depth(t, emailQueue) == 2 }, "as many as there is room for")
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == mails-2 }, "those that left are gone")
	require.Subset(t, before, s.rows(t), "the others are as they were")
	seen := map[string]bool{}
	for range mails {
		id := b.take(t, emailQueue).MessageId
		require.False(t, seen[id], "twice")
		seen[id] = true
	}
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the mails have left")
	require.Zero(t, b.depth(t, emailQueue))
}

func TestOwnMailIsConsumedWithRetriesFromAQueueOfItsOwn(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	b.topology.OwnMail = true
	s.relay(t, b, NewPublisher(b.connect(t)))
	var tries atomic.Int64
	got := make(chan Email, 10)
	stop := b.consume(t, Consumer{Queue: MailQueue, Handle: func(_ context.Context, d Delivery) error {
		mail, err := EmailFrom(d)
		switch {
		case err != nil:
			return err
		case mail.TemplateCode == commands.TemplateReset:
			return &Permanent{Reason: "refused", Detail: "no such mailbox"}
		case tries.Add(1) < 3:
			return errors.New("for now")
		}
		got <- mail
		return nil
	}})
	sent := mailTo(newUser())
	s.mail(t, sent)
	mail := <-got
	require.Equal(t, sent, mail.SendEmail)
	require.NoError(t, uuid.Validate(mail.RequestID))
	require.WithinDuration(t, time.Now().Add(24*time.Hour), mail.ExpiresAt, time.Minute)

	refused := mailTo(newUser())
	refused.TemplateCode = commands.TemplateReset
	s.mail(t, refused)
	d := b.take(t, b.topology.FailedQueue)
	require.Equal(t, []any{"refused", "no such mailbox", MailQueue, int64(1)},
		[]any{d.Headers["x-failure-reason"], d.Headers["x-failure-detail"], d.Headers["x-original-queue"], d.Headers["x-attempts"]})
	b.requireSettled(t, stop)
	for _, queue := range append(b.topology.RetryQueues(MailQueue), emailQueue, MailQueue) {
		require.Zero(t, b.depth(t, queue), queue)
	}
}

func TestWhatIsNoMailIsMalformed(t *testing.T) {
	t.Parallel()
	whole, err := json.Marshal(emailMessage{
		NotificationType: "email", RequestID: "r", Variables: emailVariables{Link: "https://e.com"}, Metadata: emailMetadata{Email: "a@e.com"},
	})
	require.NoError(t, err)
	mail, err := EmailFrom(Delivery{Body: whole})
	require.NoError(t, err)
	require.Zero(t, mail.ExpiresAt, "nobody knows when it was asked for")

	var members map[string]any
	require.NoError(t, json.Unmarshal(whole, &members))
	bodies := [][]byte{nil, []byte("[]"), []byte("{"), []byte(`{"variables": 7}`)}
	for _, name := range []string{"notification_type", "request_id", "variables", "metadata"} {
		kept := members[name]
		delete(members, name)
		body, err := json.Marshal(members)
		require.NoError(t, err)
		bodies = append(bodies, body)
		members[name] = kept
	}
	for _, body := range bodies {
		_, err := EmailFrom(Delivery{Body: body})
		why, ok := permanent(err)
		require.True(t, ok, "%s", body)
		require.Equal(t, "malformed", why.Reason)
	}
}
