package mail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

var letter = Message{
	ID: "0190-7", To: "ada@example.com", Name: "Ada Lovelace", Subject: "Hello", Text: "Hi Ada,\n.\nbye\n", HTML: "<p>Hi Ada</p>", Link: "https://e.com",
}

// sender sends to s by url, in which HOST stands for the server's address.
func sender(t testing.TB, s *servertest.MailServer, url string) *SMTP {
	t.Helper()
	server, err := ParseServer(strings.Replace(url, "HOST", s.Address, 1))
	require.NoError(t, err)
	from, err := ParseFrom("The Service <no-reply@service.example>")
	require.NoError(t, err)
	sender := NewSMTP(server, from)
	sender.roots = s.Roots()
	return sender
}

// parts are the bodies of a multipart/alternative, by their media type and in order.
func parts(t testing.TB, m *netmail.Message) (types, bodies []string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	for reader := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := reader.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return types, bodies
		}
		require.NoError(t, err)
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		types, bodies = append(types, part.Header.Get("Content-Type")), append(bodies, strings.ReplaceAll(string(body), "\r\n", "\n"))
	}
}

func received(t testing.TB, s *servertest.MailServer) (servertest.ReceivedMail, *netmail.Message) {
	t.Helper()
	mails := s.Mails()
	require.Len(t, mails, 1)
	m, err := netmail.ReadMessage(bytes.NewReader(mails[0].Data))
	require.NoError(t, err)
	return mails[0], m
}

func TestMailArrivesAsTextAndHTML(t *testing.T) {
	t.Parallel()
	s := servertest.NewMailServer(t, servertest.MailOptions{})
	m := letter
	m.Name, m.Subject, m.Text, m.HTML = "Zoë „Größe“ 李", "Grüße, 李", "Hallo Zoë ✓\n.dot\n"+strings.Repeat("x", 2000)+"\n", "<p>Zoë ✓</p>"
	before := time.Now().Add(-time.Minute)
	require.NoError(t, sender(t, s, "smtp://HOST").Send(t.Context(), m))

	envelope, got := received(t, s)
	require.Equal(t, "FROM:<no-reply@service.example> BODY=8BITMIME", envelope.From)
	require.Equal(t, "TO:<ada@example.com>", envelope.To)
	require.NotContains(t, string(envelope.Data), "Zoë", "headers and parts are ASCII")
	to, err := got.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*netmail.Address{{Name: m.Name, Address: m.To}}, to)
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, m.Subject, subject)
	require.Equal(t, `"The Service" <no-reply@service.example>`, got.Header.Get("From"))
	require.Equal(t, "<0190-7@service.example>", got.Header.Get("Message-ID"))
	require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
	require.Empty(t, got.Header.Get("User-Agent"))
	at, err := got.Header.Date()
	require.NoError(t, err)
	require.WithinRange(t, at, before, time.Now().Add(time.Minute))
	types, bodies := parts(t, got)
	require.Equal(t, []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"}, types)
	require.Equal(t, []string{m.Text, m.HTML}, bodies)
}

func TestMailIsEncryptedAndSignedInAsTheURLSays(t *testing.T) {
	t.Parallel()
	with := func(o servertest.MailOptions) servertest.MailOptions {
		o.User, o.Password = "user", "p@ss"
		return o
	}
	for name, test := range map[string]struct {
		options   servertest.MailOptions
		url, user string
		tls       bool
	}{
		"STARTTLS":                      {servertest.MailOptions{StartTLS: true}, "smtp://HOST?tls=required", "", true},
		"STARTTLS with a password":      {with(servertest.MailOptions{StartTLS: true}), "smtp://user:p%40ss@HOST?tls=required", "user", true},
		"TLS from the start":            {servertest.MailOptions{ImplicitTLS: true}, "smtps://HOST", "", true},
		"TLS at once with a password":   {with(servertest.MailOptions{ImplicitTLS: true}), "smtps://user:p%40ss@HOST", "user", true},
		"nothing":                       {servertest.MailOptions{}, "smtp://HOST", "", false},
		"nothing although it is there":  {servertest.MailOptions{StartTLS: true}, "smtp://HOST?tls=off", "", false},
		"a password within the machine": {with(servertest.MailOptions{}), "smtp://user:p%40ss@HOST", "user", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servertest.NewMailServer(t, test.options)
			require.NoError(t, sender(t, s, test.url).Send(t.Context(), letter))
			got, _ := received(t, s)
			require.Equal(t, test.user, got.User)
			require.Equal(t, test.tls, got.TLS)
		})
	}
}

// requireAway expects that m may be sent later.
func requireAway(t testing.TB, err error, outage bool) {
	t.Helper()
	away, ok := errors.AsType[*Away](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, outage, away.Outage, "%v", err)
}

func TestServerThatCannotBeTrustedGetsNoMail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options servertest.MailOptions
		url     string
		change  func(s *SMTP)
	}{
		"STARTTLS is not offered":       {servertest.MailOptions{}, "smtp://HOST?tls=required", func(*SMTP) {}},
		"nobody signed its certificate": {servertest.MailOptions{StartTLS: true}, "smtp://HOST?tls=required", func(s *SMTP) { s.roots = nil }},
		"nor with TLS at once":          {servertest.MailOptions{ImplicitTLS: true}, "smtps://HOST", func(s *SMTP) { s.roots = nil }},
		"it has another name":           {servertest.MailOptions{ImplicitTLS: true}, "smtps://HOST", func(s *SMTP) { s.server.host = "localhost" }},
		"the password is wrong":         {servertest.MailOptions{User: "user", Password: "right"}, "smtp://user:hunter2@HOST", func(*SMTP) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servertest.NewMailServer(t, test.options)
			sender := sender(t, s, test.url)
			test.change(sender)
			err := sender.Send(t.Context(), letter)
			requireAway(t, err, true)
			require.NotContains(t, err.Error(), "hunter2")
			require.Empty(t, s.Mails())
		})
	}
}

func TestServersAnswerDecidesTheFate(t *testing.T) {
	t.Parallel()
	const rejected, later, outage = "rejected", "later", "outage"
	for name, test := range map[string]struct{ verb, answer, fate string }{
		"no such reader":              {"RCPT", "550 5.1.1 <ADA@example.com>: no such user", rejected},
		"content refused":             {".", "554 5.7.1 spam", rejected},
		"content refused at its head": {"DATA", "554 5.7.1 no", rejected},
		"greylisted":                  {"RCPT", "451 4.7.1 come back", later},
		"mailbox busy":                {"RCPT", "450 4.2.1 busy", later},
		"no room":                     {".", "452 4.3.1 full", later},
		"shutting down":               {"RCPT", "421 4.3.2 bye", outage},
		"shutting down at the door":   {"CONNECT", "421 4.3.2 bye", outage},
		"closed to us":                {"CONNECT", "554 no", outage},
		"sender refused":              {"MAIL", "550 5.7.1 not yours", outage},
		"sender refused for now":      {"MAIL", "451 4.7.1 slow down", outage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servertest.NewMailServer(t, servertest.MailOptions{})
			s.Answers(func(verb, _ string) string { return map[string]string{test.verb: test.answer}[verb] })
			err := sender(t, s, "smtp://HOST").Send(t.Context(), letter)
			require.NotContains(t, strings.ToLower(err.Error()), "ada@", "what is logged names no address")
			if test.fate == rejected {
				refusal, ok := errors.AsType[*Rejected](err)
				require.True(t, ok, "%v", err)
				require.Contains(t, refusal.Detail, test.answer[4:9])
			} else {
				requireAway(t, err, test.fate == outage)
			}
			require.Empty(t, s.Mails())
		})
	}
}

func TestMailThatWasTakenIsSentWhateverComesAfter(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"RSET", "QUIT"} {
		s := servertest.NewMailServer(t, servertest.MailOptions{})
		s.Answers(func(said, _ string) string { return map[string]string{verb: "421 bye"}[said] })
		require.NoError(t, sender(t, s, "smtp://HOST").Send(t.Context(), letter), verb)
		require.Len(t, s.Mails(), 1)
	}
}

func TestServerThatIsAwayIsAnOutage(t *testing.T) {
	t.Parallel()
	s := servertest.NewMailServer(t, servertest.MailOptions{})
	s.Down()
	requireAway(t, sender(t, s, "smtp://HOST").Send(t.Context(), letter), true)
	s.Up()
	require.NoError(t, sender(t, s, "smtp://HOST").Send(t.Context(), letter))
}

// TestSilentServerIsGivenUp has the server fall silent at each step, and the sender or its caller
// run out of patience.
func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, who := range []string{"sender", "caller"} {
			t.Run(verb+" "+who, func(t *testing.T) {
				t.Parallel()
				s := servertest.NewMailServer(t, servertest.MailOptions{})
				s.Answers(func(said, _ string) string {
					if said == verb {
						<-t.Context().Done() // before the cleanup
					}
					return ""
				})
				sender := sender(t, s, "smtp://HOST")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if who == "sender" {
					sender.within = 200 * time.Millisecond
				} else {
					time.AfterFunc(200*time.Millisecond, cancel)
				}
				start := time.Now()
				err := sender.Send(ctx, letter)
				requireAway(t, err, verb == "CONNECT" || verb == "EHLO" || verb == "MAIL")
				require.Less(t, time.Since(start), patience/2)
				if who == "caller" && verb != "MAIL" {
					require.ErrorIs(t, err, context.Canceled)
				}
			})
		}
	}
}

func TestNothingCanBeSmuggledIntoAHeader(t *testing.T) {
	t.Parallel()
	s := servertest.NewMailServer(t, servertest.MailOptions{})
	for name, change := range map[string]func(m *Message){
		"address":            func(m *Message) { m.To = "ada@example.com\r\nBcc: eve@example.com" },
		"more addresses":     func(m *Message) { m.To = "ada@example.com, eve@example.com" },
		"address with name":  func(m *Message) { m.To = "Eve <eve@example.com>" },
		"no address":         func(m *Message) { m.To = "" },
		"name":               func(m *Message) { m.Name = "Ada\r\nBcc: eve@example.com" },
		"name, bare newline": func(m *Message) { m.Name = "Ada\nBcc: eve@example.com" },
		"subject":            func(m *Message) { m.Subject = "Hello\r\nBcc: eve@example.com" },
		"id":                 func(m *Message) { m.ID = "1>\r\nBcc: eve@example.com" },
	} {
		m := letter
		change(&m)
		_, ok := errors.AsType[*Rejected](sender(t, s, "smtp://HOST").Send(t.Context(), m))
		require.True(t, ok, name)
	}
	require.Empty(t, s.Mails())

	m := letter
	m.Name = `"Ada" <eve@example.com>, ` // strange, but a name
	require.NoError(t, sender(t, s, "smtp://HOST").Send(t.Context(), m))
	envelope, got := received(t, s)
	to, err := got.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*netmail.Address{{Name: m.Name, Address: m.To}}, to)
	require.Equal(t, "TO:<ada@example.com>", envelope.To)
}
