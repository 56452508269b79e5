package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
)

// patience bounds each of: to connect, to introduce oneself, to hand a mail over.
const patience = 10 * time.Second

// SMTP sends mails through a mail server, each over a connection of its own.
type SMTP struct {
	server Server
	from   *netmail.Address
	domain string // of from
	within time.Duration
	roots  *x509.CertPool // nil: the system's
}

// NewSMTP sends through server, in the name of from.
func NewSMTP(server Server, from *netmail.Address) *SMTP {
	return &SMTP{server: server, from: from, domain: from.Address[strings.LastIndex(from.Address, "@")+1:], within: patience}
}

// Send implements Sender. A mail may arrive twice when the server's answer is lost.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	mail, err := s.compose(m)
	if err != nil {
		return err
	}
	line := &line{server: s.server, tls: &tls.Config{ServerName: s.server.host, RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	defer line.hangUp() // go-mail leaves the connection open when the server refuses it
	defer context.AfterFunc(ctx, line.hangUp)()
	client, err := s.client(line)
	if err != nil {
		return &Away{Cause: err, Outage: true}
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return &Away{Cause: cause(ctx, err), Outage: true}
	}
	err = client.SendWithSMTPClient(session, mail)
	if mail.IsDelivered() { // whatever went wrong after that
		_ = client.CloseWithSMTPClient(session)
		return nil
	}
	return s.judge(ctx, m, err)
}

func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// judge tells a server that refuses this mail from one that is away. All before the reader is named
// is about the service, and an operator can mend it.
func (s *SMTP) judge(ctx context.Context, m Message, err error) error {
	refusal, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return &Away{Cause: cause(ctx, err)}
	}
	// The server likes to repeat the address, and what is said here is logged.
	text := regexp.MustCompile("(?i)"+regexp.QuoteMeta(m.To)).ReplaceAllLiteralString(refusal.Error(), "the reader")
	switch code := refusal.ErrorCode(); {
	case refusal.Reason == gomail.ErrSMTPMailFrom || refusal.Reason == gomail.ErrConnCheck || code == 421: // shutting down
		return &Away{Cause: errors.New(text), Outage: true}
	case code/100 == 5:
		return &Rejected{Detail: text}
	}
	return &Away{Cause: cause(ctx, errors.New(text))}
}

// client is made anew for each mail: go-mail changes it as it goes.
func (s *SMTP) client(l *line) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.server.port), gomail.WithTimeout(s.within), gomail.WithTLSConfig(l.tls), gomail.WithDialContextFunc(l.dial),
		gomail.WithoutNoop(),
		gomail.WithoutSMTPUTF8(), // our addresses are ASCII, and the next server may not know it
	}
	switch s.server.tls {
	case startTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case implicitTLS:
		options = append(options, gomail.WithSSL())
	case noTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.server.user != "" {
		options = append(options, gomail.WithUsername(s.server.user), gomail.WithPassword(s.server.password), gomail.WithOpportunisticSMTPAuth(
			gomail.SMTPAuthSCRAMSHA256PLUS, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthCramMD5))
	}
	return gomail.NewClient(s.server.host, options...)
}

func (s *SMTP) compose(m Message) (*gomail.Msg, error) {
	to, err := netmail.ParseAddress(m.To)
	if err != nil || to.Address != m.To {
		return nil, &Rejected{Detail: "the reader's address is none"}
	}
	for part, text := range map[string]string{"id": m.ID, "name": m.Name, "subject": m.Subject} {
		if strings.ContainsFunc(text, unicode.IsControl) { // it could begin a header of its own
			return nil, &Rejected{Detail: fmt.Sprintf("the %s has control characters", part)}
		}
	}
	to.Name = m.Name
	mail := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	mail.FromMailAddress(s.from)
	mail.ToMailAddress(to)
	mail.Subject(m.Subject)
	mail.SetDate()
	mail.SetMessageIDWithValue(m.ID + "@" + s.domain)
	mail.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: so that no out-of-office note comes back
	mail.SetBodyString(gomail.TypeTextPlain, m.Text)
	mail.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	return mail, nil
}

// line is one connection to the server, within reach so that it can be cut: go-mail heeds the
// context only while it connects.
type line struct {
	server Server
	tls    *tls.Config

	mu   sync.Mutex
	conn net.Conn
	cut  bool
}

func (l *line) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	address := net.JoinHostPort(l.server.host, strconv.Itoa(l.server.port)) // go-mail's own is wrong for IPv6
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.conn = conn
	if l.server.tls == implicitTLS {
		return tls.Client(conn, l.tls), nil // shakes hands with the first word
	}
	return conn, nil
}

func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	if l.conn != nil {
		_ = l.conn.Close()
	}
}
