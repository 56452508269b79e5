package push

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	tripAfter  = 5               // failures in a row, or fewer where a message has fewer attempts
	probeEvery = 3 * time.Second // while open: how long until one message may try
	maxPause   = time.Hour       // that another side can ask for
)

// errNotTried is the error of what was not asked, since it is thought to be away.
var errNotTried = errors.New("it is thought to be away, and was not asked")

// breaker keeps what is away from being asked, but by one message at a time now and then. It stands
// around a provider or the template service alone: around the whole handler, a message that is skipped
// would count as a recovery.
type breaker struct {
	name    string
	circuit *gobreaker.CircuitBreaker[struct{}]
	probe   chan struct{} // held by the one that tries while half-open
	certain atomic.Bool   // it refuses everybody: no need to count
	paused  atomic.Int64  // nanoseconds since 1970; until then it asked to be left alone
	log     *slog.Logger
}

// newBreaker opens before any message can have used up its attempts against what is away.
func newBreaker(name string, attempts int, log *slog.Logger) *breaker {
	b := &breaker{name: name, probe: make(chan struct{}, 1), log: log}
	trip := uint32(min(tripAfter, attempts)) //nolint:gosec // at most 5
	b.circuit = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: probeEvery,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= trip || b.certain.Load() },
		IsSuccessful: func(err error) bool { return !outage(err) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.certain.Store(false)
			log.Warn("a breaker changed", "of", name, "from", from.String(), "to", to.String())
		},
	})
	return b
}

// outage tells what is away from what judged the message.
func outage(err error) bool {
	if away, ok := errors.AsType[*Away](err); ok {
		return !away.Busy
	}
	_, refused := errors.AsType[*Rejected](err)
	_, dead := errors.AsType[*DeadToken](err)
	return err != nil && !refused && !dead
}

// try asks by fn; errNotTried when it must not.
func (b *breaker) try(fn func() error) error {
	if b.state() == "paused" {
		return errNotTried
	}
	_, err := b.circuit.Execute(func() (struct{}, error) {
		err := fn()
		b.heed(err)
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return errNotTried
	}
	if outage(err) && b.circuit.State() != gobreaker.StateClosed {
		everybody := &Away{Cause: err, Everybody: true}
		if away, ok := errors.AsType[*Away](err); ok {
			everybody.RetryAfter = away.RetryAfter
		}
		return everybody
	}
	return err
}

// heed notes what an answer means for everybody.
func (b *breaker) heed(err error) {
	away, ok := errors.AsType[*Away](err)
	switch {
	case !ok:
	case away.Everybody && away.Busy:
		until := time.Now().Add(min(away.RetryAfter, maxPause))
		b.pauseUntil(until)
		b.log.Warn("asked to be left alone", "of", b.name, "until", until.UTC(), "cause", err)
	case away.Settings:
		b.certain.Store(away.Everybody)
		if b.circuit.State() == gobreaker.StateClosed { // said once, not by each that tries
			b.log.Error("refuses us whatever the message: the settings want looking at", "of", b.name, "cause", err)
		}
	}
}

// pauseUntil never shortens a pause that was asked for before.
func (b *breaker) pauseUntil(until time.Time) {
	for {
		before := b.paused.Load()
		if until.UnixNano() <= before || b.paused.CompareAndSwap(before, until.UnixNano()) {
			return
		}
	}
}

// states a breaker can be in.
var states = []string{gobreaker.StateClosed.String(), gobreaker.StateHalfOpen.String(), gobreaker.StateOpen.String(), "paused"}

func (b *breaker) state() string {
	if until := b.paused.Load(); until != 0 && time.Now().UnixNano() < until {
		return "paused"
	}
	return b.circuit.State().String()
}

// pass lets a message through that will be tried.
func (b *breaker) pass() (done func(), through bool) {
	switch b.state() {
	case gobreaker.StateClosed.String():
		return func() {}, true
	case gobreaker.StateHalfOpen.String():
		select {
		case b.probe <- struct{}{}:
			return func() { <-b.probe }, true
		default:
		}
	}
	return nil, false
}

// gate stops the consumer while no message could be sent: while no text could be had, or none of the
// providers asked.
type gate struct{ templates, providers []*breaker }

// Pass implements messaging.Breaker.
func (g gate) Pass() (done func(), through bool) {
	text, through := anyOf(g.templates)
	if !through {
		return nil, false
	}
	provider, through := anyOf(g.providers)
	if !through {
		text()
		return nil, false
	}
	return func() {
		provider()
		text()
	}, true
}

// anyOf is passed through one of all, if there are any.
func anyOf(all []*breaker) (done func(), through bool) {
	for _, b := range all {
		if done, through := b.pass(); through {
			return done, true
		}
	}
	return func() {}, len(all) == 0
}
