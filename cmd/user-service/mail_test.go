package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/mail"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/messaging"
	"user-service/messaging/commands"
	servicemail "user-service/platform/mail"
	"user-service/platform/servertest"
)

// bySMTP has mails sent through s.
func bySMTP(t *testing.T, s *servertest.MailServer) func(*config) {
	t.Helper()
	server, err := servicemail.ParseServer("smtp://" + s.Address)
	require.NoError(t, err)
	return func(c *config) {
		c.EmailTransport, c.MailServer, c.EmailFrom = "smtp", server, &mail.Address{Address: "no-reply@example.com"}
	}
}

// mails gives a command in a transaction of its own.
func (i *instance) mails(c commands.SendEmail) {
	i.t.Helper()
	require.NoError(i.t, i.app.db.InTx(i.t.Context(), func(ctx context.Context) error { return i.app.bus.Send(ctx, c) }))
}

func resetMail(to string) commands.SendEmail {
	return commands.SendEmail{
		UserID: uuid.NewString(), Email: to, Name: "Grace Hopper", TemplateCode: commands.TemplateReset,
		Link: "https://app.example.com/reset-password?token=abc", Token: "abc", ExpiresInMinutes: 60,
	}
}

// rest waits until no mail is on its way.
func (i *instance) rest(b *broker) {
	i.t.Helper()
	servertest.Eventually(i.t, func() bool {
		var rows int
		require.NoError(i.t, i.app.db.Get(i.t.Context(), &rows, "SELECT count(*) FROM messaging.outbox"))
		waiting := rows
		for _, queue := range append(i.app.topology.RetryQueues(messaging.MailQueue), messaging.MailQueue, "email.queue") {
			waiting += b.length(queue)
		}
		return waiting == 0
	}, "no mail on its way")
}

func TestMailLeavesOnceWithItsTransactionBySMTP(t *testing.T) {
	t.Parallel()
	s, office := newStack(t), servertest.NewMailServer(t, servertest.MailOptions{})
	i := s.start(t, bySMTP(t, office))
	s.start(t, bySMTP(t, office)) // two consumers, two relays
	b := s.broker(t)
	changedMind := errors.New("changed my mind")
	require.ErrorIs(t, i.app.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, i.app.bus.Send(ctx, resetMail("nobody@example.com")))
		return changedMind
	}), changedMind)
	i.mails(resetMail("grace@example.com"))
	servertest.Eventually(t, func() bool { return len(office.Mails()) > 0 }, "the mail")
	i.rest(b)
	got := office.Mails()
	require.Len(t, got, 1)
	require.Equal(t, "TO:<grace@example.com>", got[0].To)
	require.Contains(t, string(got[0].Data), "Hi Grace Hopper,")
	require.Contains(t, string(got[0].Data), "multipart/alternative")
	require.Zero(t, b.length("failed.queue"))
}

// TestOutageOfTheMailServerCostsNoMail lasts for more rounds than a mail has attempts.
func TestOutageOfTheMailServerCostsNoMail(t *testing.T) {
	t.Parallel()
	s, office := newStack(t), servertest.NewMailServer(t, servertest.MailOptions{})
	i := s.start(t, bySMTP(t, office))
	b := s.broker(t)
	office.Down()
	const mails = 5
	for range mails {
		i.mails(resetMail("grace@example.com"))
	}
	started := time.Now()
	servertest.Eventually(t, func() bool { return time.Since(started) > 2*time.Second }, "some rounds")
	require.Zero(t, b.length("failed.queue"))
	office.Up()
	servertest.Eventually(t, func() bool { return len(office.Mails()) >= mails }, "the mails of the outage")
	i.rest(b)
	require.Len(t, office.Mails(), mails, "each once")
	require.Zero(t, b.length("failed.queue"))
}

func TestRefusedMailLandsInTheFailedQueue(t *testing.T) {
	t.Parallel()
	s, office := newStack(t), servertest.NewMailServer(t, servertest.MailOptions{})
	office.Answers(func(verb, argument string) string {
		switch {
		case verb == "RCPT" && strings.Contains(argument, "nobody@"):
			return "550 5.1.1 no such user"
		case verb == "RCPT" && strings.Contains(argument, "busy@"):
			return "451 4.7.1 later"
		}
		return ""
	})
	i := s.start(t, bySMTP(t, office))
	b := s.broker(t)
	for _, test := range []struct {
		to, reason, detail string
		attempts           int64
	}{{"nobody@example.com", "mail_rejected", "no such user", 1}, {"busy@example.com", "attempts_exhausted", "later", 3}} {
		i.mails(resetMail(test.to))
		d := b.dead()
		require.Equal(t, []any{test.reason, test.attempts, messaging.MailQueue}, []any{d.Headers["x-failure-reason"], d.Headers["x-attempts"], d.Headers["x-original-queue"]})
		require.Contains(t, d.Headers["x-failure-detail"], test.detail)
		require.NotContains(t, d.Headers["x-failure-detail"], test.to)
	}
	i.mails(resetMail("grace@example.com"))
	servertest.Eventually(t, func() bool { return len(office.Mails()) == 1 }, "the next one arrives")
	i.rest(b)
}

func TestMailIsLeftToTheEmailService(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	c := resetMail("grace@example.com")
	i.mails(c)
	servertest.Eventually(t, func() bool { return b.length("email.queue") == 1 }, "the message for the Email Service")
	d, _, err := b.ch.Get("email.queue", true)
	require.NoError(t, err)
	var body map[string]any
	require.NoError(t, json.Unmarshal(d.Body, &body))
	require.Equal(t, []any{"email", "password_reset", c.UserID, d.MessageId}, []any{body["notification_type"], body["template_code"], body["user_id"], body["request_id"]})
}

// TestLogOfAMailHoldsItsLink is how the link is followed in development.
func TestLogOfAMailHoldsItsLink(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t, "EMAIL_TRANSPORT=log")
	b := s.broker(t)
	db := s.open(t)
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	require.NoError(t, err)
	c := resetMail("grace@example.com")
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error { return bus.Send(ctx, c) }))
	(&instance{t: t, app: &app{core: &core{db: db}}}).rest(b)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
	require.Contains(t, p.output.String(), c.Link)
	require.NotContains(t, p.output.String(), c.Email)
}
