package push

import (
	"context"
	"errors"
	"time"
)

// Notification is one message for one device.
type Notification struct {
	RequestID string
	UserID    string
	Token     string
	Title     string
	Body      string
	Data      map[string]any
	Priority  int // 0 to 10
}

// Provider hands notifications to devices. Send gives the provider's id of the message, "" when it
// has none. Its errors are ErrDeadToken, *Rejected and *Away; any other counts as Away.
type Provider interface {
	Name() string
	Send(ctx context.Context, n Notification) (id string, err error)
}

// ErrDeadToken says that the device token will never work again.
var ErrDeadToken = errors.New("the device token is no longer registered")

// Rejected says that the provider will never take this message.
type Rejected struct{ Detail string }

func (r *Rejected) Error() string { return r.Detail }

// Away says that the provider cannot take the message now.
type Away struct {
	Cause      error
	RetryAfter time.Duration // what it asked for; 0 when it did not
	Busy       bool          // it is up and only asks to wait: no sign of an outage
	Outage     bool          // it fails everybody: no fault of this message
}

func (a *Away) Error() string { return a.Cause.Error() }

// Unwrap gives the cause.
func (a *Away) Unwrap() error { return a.Cause }
