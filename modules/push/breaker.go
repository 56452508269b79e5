package push

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"user-service/messaging"
)

const (
	tripAfter  = 5               // failures in a row, or fewer where a message has fewer attempts
	probeEvery = 2 * time.Second // while open: how long until one message may try
	lookEvery  = 100 * time.Millisecond
)

// guarded is a provider behind a circuit breaker. It stands around the provider alone: around the
// whole handler, a message that is skipped would count as the provider's recovery.
type guarded struct {
	Provider
	breaker *gobreaker.CircuitBreaker[string]
	probe   chan struct{} // held by the one that tries while half-open
}

// guard opens the breaker before any message can have used up its attempts against a provider that
// is away.
func guard(p Provider, attempts int, log *slog.Logger) *guarded {
	trip := uint32(min(tripAfter, attempts)) //nolint:gosec // at most 5
	return &guarded{
		Provider: p,
		probe:    make(chan struct{}, 1),
		breaker: gobreaker.NewCircuitBreaker[string](gobreaker.Settings{
			Name: p.Name(), MaxRequests: 1, Timeout: probeEvery,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= trip },
			IsSuccessful: func(err error) bool { return !outage(err) },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				log.Warn("the breaker of the provider changed", "provider", p.Name(), "from", from.String(), "to", to.String())
			},
		}),
	}
}

// outage tells a provider that is away from one that judged the message.
func outage(err error) bool {
	if away, ok := errors.AsType[*Away](err); ok {
		return !away.Busy
	}
	_, rejected := errors.AsType[*Rejected](err)
	return err != nil && !rejected && !errors.Is(err, ErrDeadToken)
}

// Send implements Provider; messaging.ErrBreakerOpen when the message was not tried.
func (g *guarded) Send(ctx context.Context, n Notification) (string, error) {
	id, err := g.breaker.Execute(func() (string, error) { return g.Provider.Send(ctx, n) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return "", messaging.ErrBreakerOpen
	}
	if outage(err) && g.breaker.State() != gobreaker.StateClosed {
		return "", &Away{Cause: err, Outage: true}
	}
	return id, err
}

// Wait implements messaging.Breaker.
func (g *guarded) Wait(stop <-chan struct{}) (done func()) {
	for {
		switch g.breaker.State() {
		case gobreaker.StateClosed:
			return func() {}
		case gobreaker.StateHalfOpen:
			select {
			case g.probe <- struct{}{}:
				if g.breaker.State() == gobreaker.StateHalfOpen {
					return func() { <-g.probe }
				}
				<-g.probe // the one before has found out
			case <-stop:
				return nil
			}
		case gobreaker.StateOpen:
			select {
			case <-time.After(lookEvery):
			case <-stop:
				return nil
			}
		}
	}
}
