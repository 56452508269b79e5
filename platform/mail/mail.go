// Package mail hands mails to a mail server, or shows them in the log. A mail is plain text and HTML,
// for one reader. Whoever calls decides what becomes of a mail that was refused, or of a server that
// is away.
package mail

import (
	"context"
	"log/slog"
)

// Message is a mail to one reader.
type Message struct {
	ID      string // the same at every attempt; with the sender's domain it is the Message-ID
	To      string // address
	Name    string // of the reader, may be empty
	Subject string
	Text    string
	HTML    string
	Link    string // what the mail asks its reader to open
}

// Sender sends mails. An error is Rejected, or else Away: then it is worth another try.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Rejected says that this mail cannot be sent, now or later.
type Rejected struct{ Detail string }

func (r *Rejected) Error() string { return "mail rejected: " + r.Detail }

// Away says that a mail may be sent later.
type Away struct {
	Cause  error
	Outage bool // the server was not asked about this mail: it is away, or refuses the service as a whole
}

func (a *Away) Error() string { return "mail not sent: " + a.Cause.Error() }

// Unwrap gives the cause.
func (a *Away) Unwrap() error { return a.Cause }

// Log sends nothing. It is for development, where the link in the log, token and all, is the whole
// point: there is no other way to follow it.
type Log struct{ Log *slog.Logger }

// Send implements Sender.
func (l Log) Send(ctx context.Context, m Message) error {
	l.Log.InfoContext(ctx, "mail", "subject", m.Subject, "link", m.Link, "request_id", m.ID)
	return nil
}
