package messaging

import (
	"errors"
	"fmt"
	"time"
)

// Permanent says that a message can never be handled. Reason is a code for machines
// (x-failure-reason), Detail a sentence for people (x-failure-detail).
type Permanent struct {
	Reason string
	Detail string
	Cause  error // for those who told so; may be nil
}

func (p *Permanent) Error() string { return p.Reason + ": " + p.Detail }

// Unwrap gives the cause.
func (p *Permanent) Unwrap() error { return p.Cause }

// Transient says that a message may be handled later. Any error that is not Permanent is.
type Transient struct {
	Cause      error
	RetryAfter time.Duration // what the other side asked for; 0: the next step
	Blameless  bool          // no attempt was made: it does not count
}

func (t *Transient) Error() string { return fmt.Sprintf("to be tried again: %v", t.Cause) }

// Unwrap gives the cause.
func (t *Transient) Unwrap() error { return t.Cause }

func permanent(err error) (*Permanent, bool) { return errors.AsType[*Permanent](err) }

// ErrStopping has a message go back to its queue, since the consumer stops: it was not tried.
var ErrStopping = errors.New("messaging: the consumer is stopping")
