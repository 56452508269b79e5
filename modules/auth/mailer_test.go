package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/mail"
)

func verification() messaging.Email {
	return messaging.Email{RequestID: "0190-7", SendEmail: commands.SendEmail{
		UserID: "7", Email: "ada@example.com", Name: "Ada", TemplateCode: commands.TemplateVerification,
		Link: "https://app.example.com/verify-email?token=abc", Token: "abc", ExpiresInMinutes: 1440,
	}}
}

func TestLinksLeadToTheClientsPages(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://app.example.com", "https://app.example.com/"} {
		s := Settings{PublicURL: base}
		require.Equal(t, "https://app.example.com/verify-email?token=a-b_c%2B%26", s.link(emailVerification, "a-b_c+&"))
		require.Equal(t, "https://app.example.com/reset-password?token=abc", s.link(passwordReset, "abc"))
	}
	require.Equal(t, "http://e.com/app/verify-email?token=a", Settings{PublicURL: "http://e.com/app"}.link(emailVerification, "a"))
}

func TestEveryLetterHasItsWordsInTextAndHTML(t *testing.T) {
	t.Parallel()
	for code, test := range map[string]struct{ subject, words string }{
		commands.TemplateVerification: {"Please confirm your e-mail address", "did not create an"},
		commands.TemplateReset:        {"Reset your password", "your password stays as it is"},
	} {
		email := verification()
		email.TemplateCode = code
		m, err := write(email)
		require.NoError(t, err)
		require.Equal(t, []string{"0190-7", "ada@example.com", "Ada", test.subject, email.Link}, []string{m.ID, m.To, m.Name, m.Subject, m.Link})
		for _, body := range []string{m.Text, m.HTML} {
			require.Contains(t, body, "Hi Ada,")
			require.Contains(t, body, email.Link)
			require.Contains(t, body, "24 hours")
			require.Contains(t, strings.ReplaceAll(body, "\n", " "), test.words)
			require.NotContains(t, body, "<no value>")
			require.NotContains(t, body, "{{")
		}
		require.Contains(t, m.HTML, `<a href="`+email.Link+`"`)
		require.Contains(t, m.HTML, `content="light dark"`)
		require.NotRegexp(t, `(?i)<img|<script|<link|src=|url\(|@import`, m.HTML, "nothing is fetched when it is opened")
	}
}

func TestNameIsTextInHTML(t *testing.T) {
	t.Parallel()
	email := verification()
	email.Name = `<b onclick="x">Zoë & Co<b>`
	m, err := write(email)
	require.NoError(t, err)
	require.Contains(t, m.Text, "Hi "+email.Name+",")
	require.NotRegexp(t, `<b[ >]`, m.HTML)
	require.Contains(t, m.HTML, "Zoë &amp; Co")
}

func TestNameThatSaysMoreThanANameIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, greeted := range map[string]bool{
		"Ada": true, "J.R.R. Tolkien": true, "Dr. Zoë O'Neill-李, Jr.": true, "": false, "You won! https://evil.example": false, "Go to evil.com": false,
		"evil.com now": false, "mail eve@evil": false, strings.Repeat("Buy now ", 12): false,
	} {
		email := verification()
		email.Name = name
		m, err := write(email)
		require.NoError(t, err)
		if greeted {
			require.Contains(t, m.Text, "Hi "+name+",")
			require.Equal(t, name, m.Name)
		} else {
			require.True(t, strings.HasPrefix(m.Text, "Hello,"), m.Text)
			require.Empty(t, m.Name)
			require.NotContains(t, m.HTML, "evil")
		}
	}
}

func TestLifetimesAreInWords(t *testing.T) {
	t.Parallel()
	for minutes, words := range map[int]string{
		1: "1 minute", 15: "15 minutes", 60: "1 hour", 90: "90 minutes", 1440: "24 hours", 2880: "48 hours", 4320: "3 days",
	} {
		require.Equal(t, words, inWords(minutes))
	}
}

// postOffice is a mail server in the hand of a test.
type postOffice struct {
	sent   []mail.Message
	answer error
}

func (p *postOffice) Send(_ context.Context, m mail.Message) error {
	p.sent = append(p.sent, m)
	return p.answer
}

func deliveryOf(t *testing.T, code string, at time.Time) messaging.Delivery {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"notification_type": "email", "user_id": "7", "template_code": code, "request_id": "0190-7", "metadata": map[string]any{"email": "ada@example.com"},
		"variables": map[string]any{"name": "Ada", "link": "https://e.com/?token=secret", "token": "secret", "expires_in_minutes": 60},
	})
	require.NoError(t, err)
	return messaging.Delivery{Body: body, Time: at}
}

func TestMailIsSentUnlessItsLinkHasExpired(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	office := &postOffice{}
	m := Mailer{Sender: office, Log: slog.New(slog.NewTextHandler(&said, nil))}
	now := time.Now()
	for _, at := range []time.Time{{}, now, now.Add(-59 * time.Minute)} {
		require.NoError(t, m.Handle(t.Context(), deliveryOf(t, commands.TemplateReset, at)))
	}
	require.Len(t, office.sent, 3)
	require.NoError(t, m.Handle(t.Context(), deliveryOf(t, commands.TemplateReset, now.Add(-61*time.Minute))))
	require.Len(t, office.sent, 3)
	require.Contains(t, said.String(), "expired")
	require.NotContains(t, said.String(), "secret")
	require.NotContains(t, said.String(), "ada@")
}

func TestFateOfAMailIsSaidInTheTermsOfMessaging(t *testing.T) {
	t.Parallel()
	office := &postOffice{}
	m := Mailer{Sender: office, Log: slog.New(slog.DiscardHandler)}
	handle := func(answer error, code string) error {
		office.answer = answer
		return m.Handle(t.Context(), deliveryOf(t, code, time.Now()))
	}
	for reason, err := range map[string]error{
		"mail_rejected":    handle(&mail.Rejected{Detail: "550 unknown"}, commands.TemplateReset),
		"unknown_template": handle(nil, "welcome"),
		"malformed":        m.Handle(t.Context(), messaging.Delivery{Body: []byte("{}")}),
	} {
		final, ok := errors.AsType[*messaging.Permanent](err)
		require.True(t, ok, reason)
		require.Equal(t, reason, final.Reason)
	}
	for blameless, err := range map[bool]error{
		true:  handle(&mail.Away{Cause: errors.New("refused"), Outage: true}, commands.TemplateReset),
		false: handle(&mail.Away{Cause: errors.New("greylisted")}, commands.TemplateReset),
	} {
		later, ok := errors.AsType[*messaging.Transient](err)
		require.True(t, ok)
		require.Equal(t, blameless, later.Blameless)
	}
}
