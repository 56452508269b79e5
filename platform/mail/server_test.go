package mail

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestURLSaysHowToReachTheServer(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]Server{
		"smtp://mail.example.com":                     {host: "mail.example.com", port: 587, tls: startTLS},
		"smtp://u:p%40@mail.example.com:25":           {host: "mail.example.com", port: 25, user: "u", password: "p@", tls: startTLS},
		"smtps://u:p@mail.example.com/":               {host: "mail.example.com", port: 465, user: "u", password: "p", tls: implicitTLS},
		"smtps://[::1]:1465?tls=required":             {host: "::1", port: 1465, tls: implicitTLS},
		"smtp://mailpit:1025?tls=off":                 {host: "mailpit", port: 1025, tls: noTLS},
		"smtp://localhost:1025":                       {host: "localhost", port: 1025, tls: noTLS},
		"smtp://u:p@127.0.0.1:1025":                   {host: "127.0.0.1", port: 1025, user: "u", password: "p", tls: noTLS},
		"smtp://[::1]":                                {host: "::1", port: 587, tls: noTLS},
		"smtp://localhost?tls=required":               {host: "localhost", port: 587, tls: startTLS},
		"smtp://localhost.example.com":                {host: "localhost.example.com", port: 587, tls: startTLS},
		"smtp://u:p@mail.example.com:25?tls=required": {host: "mail.example.com", port: 25, user: "u", password: "p", tls: startTLS},
	} {
		got, err := ParseServer(url)
		require.NoError(t, err, url)
		require.Equal(t, want, got, url)
	}
}

func TestURLThatIsWrongIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "mail.example.com", "http://u:hidden@mail.example.com", "smtp://u:hidden@", "smtp://u:hidden@host:0", "smtp://u:hidden@host:99999",
		"smtp://u:hidden@host:port", "smtp://u:hidden@host/path", "smtp://hidden@host", "smtp://:hidden@host", "smtp://u:hidden@host?tls=off",
		"smtp://u:hidden@host?tls=maybe", "smtps://u:hidden@host?tls=off", "smtp://u:hidden@host?starttls=1", "smtp://u:hidden@host?%zz",
	} {
		_, err := ParseServer(url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hidden")
	}
}

func TestSenderIsAnAddressPerhapsWithAName(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"no-reply@example.com": "<no-reply@example.com>", "The Service <no-reply@example.com>": `"The Service" <no-reply@example.com>`,
	} {
		from, err := ParseFrom(raw)
		require.NoError(t, err)
		require.Equal(t, want, from.String())
	}
	for _, raw := range []string{"", "no-reply", "a@b.c, d@e.f", "nö@example.com", "a@b.c\r\nBcc: d@e.f"} {
		_, err := ParseFrom(raw)
		require.Error(t, err, raw)
	}
}

func TestLogShowsTheLink(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, Log{slog.New(slog.NewTextHandler(&out, nil))}.Send(t.Context(), letter))
	require.Contains(t, out.String(), "level=INFO")
	require.Contains(t, out.String(), "subject=Hello")
	require.Contains(t, out.String(), "link=https://e.com")
	require.NotContains(t, out.String(), "ada@", "the address is of no use there")
}
