package push

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	quickTries  = 3 // of one attempt, where no answer came
	quickWithin = 2 * time.Second
	quickWait   = 200 * time.Millisecond

	// shareWithin is how long a message waits for its provider's share: long enough while the provider
	// answers quickly, and not so long that its backlog holds up the others.
	shareWithin = 50 * time.Millisecond
)

// guarded is a provider behind a breaker of its own, that takes no more than its share.
type guarded struct {
	Provider
	breaker *breaker
	share   seats        // nil: it has all seats to itself
	left    atomic.Int64 // when one last gave its place in the share back, nanoseconds since 1970
}

// guard puts each provider behind a breaker. Of several no one gets more than three quarters of the
// seats of all, so that a slow one does not hold up the others.
func guard(providers []Provider, attempts, concurrency int, figures metrics, log *slog.Logger) (all []*guarded) {
	for _, p := range providers {
		g := &guarded{Provider: observe(p, figures), breaker: newBreaker(p.Name(), attempts, log)}
		if len(providers) > 1 {
			g.share = make(seats, max(1, concurrency*3/4))
		}
		all = append(all, g)
	}
	return all
}

// senderTo is the provider for tokens of this form, or the first one.
func senderTo(providers []*guarded, token string) *guarded {
	for _, p := range providers {
		if len(providers) > 1 && p.Takes(token) {
			return p
		}
	}
	return providers[0]
}

// Send implements Provider; errNotTried when the message was not tried.
func (g *guarded) Send(ctx context.Context, n Notification) (id string, err error) {
	if !g.enter(ctx) {
		return "", errNotTried
	}
	defer g.leave()
	err = quickly(ctx, func() error {
		return g.breaker.try(func() (err error) {
			id, err = g.Provider.Send(ctx, n)
			return err
		})
	})
	if err != nil {
		return "", &answeredBy{g.Name(), err}
	}
	return id, nil
}

// enter waits for the provider's share, but not for long: the message can wait outside.
func (g *guarded) enter(ctx context.Context) bool {
	if g.share == nil {
		return true
	}
	within := shareWithin
	if time.Now().UnixNano()-g.left.Load() > int64(shareWithin) {
		within = 0 // nobody leaves: it is slow
	}
	return g.share.take(ctx, nil, within)
}

func (g *guarded) leave() {
	if g.share != nil {
		g.left.Store(time.Now().UnixNano())
		g.share.leave()
	}
}

// quickly tries again at once, within limits, where no answer came: most such faults are gone a moment
// later, when a new connection is made.
func quickly(ctx context.Context, try func() error) error {
	start := time.Now()
	for tries := 1; ; tries++ {
		err := try()
		away, ok := errors.AsType[*Away](err)
		if !ok || !away.Soon || away.Everybody || tries == quickTries {
			return err
		}
		wait := quickWait << (tries - 1)
		wait += rand.N(wait) //nolint:gosec // nobody gains by foreseeing it
		if time.Since(start)+wait > quickWithin {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}
