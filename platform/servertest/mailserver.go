package servertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// MailOptions are what a MailServer offers and demands.
type MailOptions struct {
	StartTLS, ImplicitTLS bool
	User, Password        string // for AUTH PLAIN; with "" nobody is asked
}

// MailServer takes mails as RFC 5321 says.
type MailServer struct {
	Address string // host and port
	t       testing.TB
	options MailOptions
	config  *tls.Config
	roots   *x509.CertPool

	mu       sync.Mutex
	listener net.Listener
	sessions map[net.Conn]bool
	answer   func(verb, argument string) string
	mails    []ReceivedMail
}

// ReceivedMail is a mail with its envelope.
type ReceivedMail struct {
	From, To string
	User     string // who had signed in
	TLS      bool
	Data     []byte
}

// NewMailServer starts one on a port of its own.
func NewMailServer(t testing.TB, options MailOptions) *MailServer {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	defer certified.Close()
	s := &MailServer{
		Address: "127.0.0.1:0", t: t, options: options, sessions: map[net.Conn]bool{}, roots: x509.NewCertPool(),
		config: &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12},
	}
	s.roots.AddCert(certified.Certificate())
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Roots is who signed the server's certificate.
func (s *MailServer) Roots() *x509.CertPool { return s.roots }

// Answers has fn answer commands, also CONNECT, and "." which ends a mail. "" leaves the answer to the
// server.
func (s *MailServer) Answers(fn func(verb, argument string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

// Mails are those taken so far.
func (s *MailServer) Mails() []ReceivedMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ReceivedMail(nil), s.mails...)
}

// Down ends every session and lets nobody in.
func (s *MailServer) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close()
	for conn := range s.sessions {
		_ = conn.Close()
	}
}

// Up lets clients in, at the same address as before.
func (s *MailServer) Up() {
	listener, err := net.Listen("tcp", s.Address)
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.Address = listener, listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
}

// mailSession is one client.
type mailSession struct {
	*textproto.Conn
	server *MailServer
	raw    net.Conn
	mail   ReceivedMail
}

func (s *MailServer) serve(conn net.Conn) {
	s.mu.Lock()
	s.sessions[conn] = true
	s.mu.Unlock()
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.sessions, conn)
		s.mu.Unlock()
	}()
	session := &mailSession{server: s}
	session.over(conn, s.options.ImplicitTLS)
	if session.say(session.choose("CONNECT", "", "220 ready")) != nil {
		return
	}
	for {
		text, err := session.ReadLine()
		if err != nil {
			return
		}
		verb, argument, _ := strings.Cut(text, " ")
		if session.handle(strings.ToUpper(verb), argument) != nil {
			return
		}
	}
}

func (m *mailSession) over(conn net.Conn, secure bool) {
	if secure {
		conn = tls.Server(conn, m.server.config)
	}
	m.raw, m.Conn, m.mail.TLS = conn, textproto.NewConn(conn), secure
}

// choose is the usual answer, unless the test wants something else.
func (m *mailSession) choose(verb, argument, usual string) string {
	m.server.mu.Lock()
	answer := m.server.answer
	m.server.mu.Unlock()
	if answer != nil {
		if other := answer(verb, argument); other != "" {
			return other
		}
	}
	return usual
}

// say ends the session after 221 and 421, by which a server takes its leave.
func (m *mailSession) say(text string) error {
	if err := m.PrintfLine("%s", text); err != nil {
		return err
	}
	if strings.HasPrefix(text, "221") || strings.HasPrefix(text, "421") {
		return io.EOF
	}
	return nil
}

// handle ends the session by an error.
func (m *mailSession) handle(verb, argument string) error {
	usual := "250 ok"
	switch verb {
	case "EHLO":
		usual = m.greeting()
	case "STARTTLS":
		usual = "220 go ahead"
	case "AUTH":
		usual = m.signIn(argument)
	case "MAIL":
		m.mail.From = argument
		if m.server.options.User != "" && m.mail.User == "" {
			usual = "530 5.7.0 sign in first"
		}
	case "RCPT":
		m.mail.To = argument
	case "DATA":
		usual = "354 go ahead"
	case "QUIT":
		usual = "221 bye"
	}
	said := m.choose(verb, argument, usual)
	err := m.say(said)
	switch {
	case err != nil || said != usual:
		return err
	case verb == "STARTTLS":
		m.over(m.raw, true)
	case verb == "DATA":
		return m.take()
	}
	return nil
}

// take has the mail in the list before the client hears of it.
func (m *mailSession) take() error {
	var err error
	if m.mail.Data, err = io.ReadAll(m.DotReader()); err != nil {
		return err
	}
	const usual = "250 taken"
	said := m.choose(".", "", usual)
	if said == usual {
		m.server.mu.Lock()
		m.server.mails = append(m.server.mails, m.mail)
		m.server.mu.Unlock()
	}
	return m.say(said)
}

func (m *mailSession) greeting() string {
	lines := []string{"localhost", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
	if m.server.options.StartTLS && !m.mail.TLS {
		lines = append(lines, "STARTTLS")
	}
	if m.server.options.User != "" {
		lines = append(lines, "AUTH PLAIN")
	}
	return "250-" + strings.Join(lines[:len(lines)-1], "\r\n250-") + "\r\n250 " + lines[len(lines)-1]
}

func (m *mailSession) signIn(argument string) string {
	_, encoded, _ := strings.Cut(argument, " ")
	said, _ := base64.StdEncoding.DecodeString(encoded)
	parts := strings.Split(string(said), "\x00")
	if len(parts) != 3 || parts[1] != m.server.options.User || parts[2] != m.server.options.Password {
		return "535 5.7.8 wrong user or password"
	}
	m.mail.User = parts[1]
	return "235 welcome"
}
