package messaging

import (
	"context"
	"sync"
	"time"
)

// A figure of a server is asked for when somebody scrapes: it may be a moment old, and one that does
// not come in time is left out. So a scrape answers at once whatever is away, and never lies.
const (
	glanceWithin = 400 * time.Millisecond
	glanceFor    = time.Second // how long it is shown: many may scrape
)

// glance is a look at a server. Only one is under way at a time, however long it takes.
type glance[T any] struct {
	look func(ctx context.Context) (T, error)

	mu    sync.Mutex
	taken time.Time // of seen
	seen  T
	busy  chan struct{} // closed when the look under way has ended; nil when there is none
}

// value is what was seen within glanceFor; false when nothing was.
func (g *glance[T]) value() (seen T, ok bool) {
	g.mu.Lock()
	if time.Since(g.taken) < glanceFor {
		defer g.mu.Unlock()
		return g.seen, true
	}
	if g.busy == nil {
		g.busy = make(chan struct{})
		go g.take(g.busy)
	}
	ended := g.busy
	g.mu.Unlock()

	timer := time.NewTimer(glanceWithin)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.taken) < glanceFor {
		return g.seen, true
	}
	return seen, false
}

func (g *glance[T]) take(ended chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), glanceWithin)
	defer cancel()
	seen, err := g.look(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.seen, g.taken = seen, time.Now()
	}
	g.busy = nil
	close(ended)
}
