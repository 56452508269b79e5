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
	Priority  int // 0 to 10; from highPriority on it wakes the device
}

const highPriority = 5

// Provider hands notifications to devices. Send gives the provider's id of the message, "" when it
// has none. Its errors are *DeadToken, *Rejected and *Away; any other counts as Away.
type Provider interface {
	Name() string
	Takes(token string) bool // whether it knows tokens of this form; asked only where there are several providers
	Send(ctx context.Context, n Notification) (id string, err error)
}

// DeadToken says that the device token will never work again, unless it was registered anew.
type DeadToken struct{ Since *time.Time } // when the provider last found it dead; nil: now

func (*DeadToken) Error() string { return "the device token is no longer registered" }

// Rejected says that the provider will never take this message.
type Rejected struct {
	Reason string // code for machines
	Detail string
}

func (r *Rejected) Error() string { return r.Detail }

func rejected(detail string) *Rejected { return &Rejected{"provider_rejected", detail} }

// Away says that what is asked cannot be had now, from a provider or the template service.
type Away struct {
	Cause      error
	RetryAfter time.Duration // what it asked for; 0 when it did not
	Busy       bool          // it is up and only asks to wait: no sign of an outage
	Everybody  bool          // it would answer any message so: no fault of this one
	Settings   bool          // it is not the message that is wrong, but what we are or where we ask
	Soon       bool          // another try right now makes sense: no answer came
}

func (a *Away) Error() string { return a.Cause.Error() }

// Unwrap gives the cause.
func (a *Away) Unwrap() error { return a.Cause }

// answeredBy is the error of a provider, with its name.
type answeredBy struct {
	provider string
	error
}

func (a *answeredBy) Unwrap() error { return a.error }

// providerOf is who answered with err, "" when nobody was asked.
func providerOf(err error) string {
	if answered, ok := errors.AsType[*answeredBy](err); ok {
		return answered.provider
	}
	return ""
}
