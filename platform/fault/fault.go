// Package fault is the one kind of error a client may see. Everything else is an internal error:
// it is wrapped with what was attempted, logged once at the edge, and shown as `internal_error`.
package fault

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind says whose fault it is, in terms of the domain. The edge turns it into a status.
type Kind int

// The kinds of faults.
const (
	Internal Kind = iota // ours; its text is never shown
	Invalid
	Unauthenticated
	Forbidden
	NotFound
	MethodNotAllowed
	Conflict // with what is going on; worth another try
	Unprocessable
	TooLarge
	UnsupportedType
	RateLimited
	TooSlow
	ClientLeft
	Unavailable // a server this service needs is away; worth another try
)

// Fields maps the name of a field to what is wrong with it, one sentence for each broken rule.
type Fields map[string][]string

// Add notes one more broken rule of a field.
func (f Fields) Add(field, message string) { f[field] = append(f[field], message) }

// Err is nil when no rule is broken, else the `validation_failed` fault.
func (f Fields) Err() error {
	if len(f) == 0 {
		return nil
	}
	return &Fault{Kind: Invalid, Code: "validation_failed", Message: f.summary(), Fields: f}
}

// Lines gives `field: message` for each broken rule, by field.
func (f Fields) Lines() (lines []string) {
	for _, name := range f.names() {
		for _, message := range f[name] {
			lines = append(lines, name+": "+message)
		}
	}
	return lines
}

func (f Fields) summary() string {
	return "Some fields are not valid: " + strings.Join(f.names(), ", ") + "."
}

func (f Fields) names() []string { return slices.Sorted(maps.Keys(f)) }

// Fault is an error whose code and message are meant for the client.
type Fault struct {
	Kind       Kind
	Code       string        // for machines, stable: `invalid_credentials`
	Message    string        // for people
	Fields     Fields        // only on `validation_failed`
	RetryAfter time.Duration // only on RateLimited, Conflict and Unavailable
	cause      error         // for the log, never for the client
}

// New makes a fault a client may see.
func New(kind Kind, code, message string) *Fault {
	return &Fault{Kind: kind, Code: code, Message: message}
}

// Away is the fault of a server that cannot be reached. cause is kept for the log.
func Away(cause error) *Fault {
	return &Fault{
		Kind: Unavailable, Code: "unavailable", RetryAfter: 2 * time.Second, cause: cause,
		Message: "The service is temporarily unavailable. Please try again shortly.",
	}
}

// TooMany is the fault of a client that asks too often; after wait it may ask again.
func TooMany(wait time.Duration) *Fault {
	return &Fault{
		Kind: RateLimited, Code: "rate_limited", RetryAfter: wait,
		Message: "Too many requests. Please wait a moment and try again.",
	}
}

// Error is for logs: it names the cause as well.
func (f *Fault) Error() string {
	if f.cause != nil {
		return f.Code + ": " + f.cause.Error()
	}
	return f.Code + ": " + f.Message
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.cause }

// Is reports whether target is a fault of the same code, so that errors.Is works on faults made anew.
func (f *Fault) Is(target error) bool {
	other, ok := target.(*Fault)
	return ok && other.Code == f.Code
}

// From finds the fault in err; anything else is Internal and keeps err as its cause.
func From(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return &Fault{
		Kind: Internal, Code: "internal_error", cause: err,
		Message: "Something went wrong on our side. The correlation id helps us to find out what.",
	}
}
