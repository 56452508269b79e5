package web

import (
	"context"
	"sync"
	"time"
)

// bounded is a context that ends with its parent, or when its time is up, like one of context.WithTimeout.
// That one costs nine allocations; most requests are answered from the cache, and nobody waits for their
// end: the one of context is made for the first who does.
type bounded struct {
	context.Context // the parent
	deadline        time.Time

	mu     sync.Mutex
	waited context.Context // nil: nobody has asked for its end yet
	stop   context.CancelFunc
	ended  error // before somebody did
}

// closed is the end of who has ended already.
var closed = func() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}()

// within gives a context that ends within limit. cancel ends it before, and must be called.
func within(parent context.Context, limit time.Duration) (ctx context.Context, cancel func()) {
	b := &bounded{Context: parent, deadline: time.Now().Add(limit)}
	if earlier, ok := parent.Deadline(); ok && earlier.Before(b.deadline) {
		b.deadline = earlier
	}
	return b, b.cancel
}

// Deadline implements context.Context.
func (b *bounded) Deadline() (time.Time, bool) { return b.deadline, true }

// Done implements context.Context.
func (b *bounded) Done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waited == nil {
		if b.over() != nil {
			return closed
		}
		b.waited, b.stop = context.WithDeadline(b.Context, b.deadline)
	}
	return b.waited.Done()
}

// Err implements context.Context.
func (b *bounded) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waited != nil {
		return b.waited.Err()
	}
	return b.over()
}

// over notes how it ended, if it did while nobody waited: so it stays.
func (b *bounded) over() error {
	switch {
	case b.ended != nil:
	case b.Context.Err() != nil:
		b.ended = b.Context.Err()
	case !time.Now().Before(b.deadline):
		b.ended = context.DeadlineExceeded
	}
	return b.ended
}

// Value implements context.Context. Package context finds by it whose end the end of a context is.
func (b *bounded) Value(key any) any {
	b.mu.Lock()
	waited := b.waited
	b.mu.Unlock()
	if waited != nil {
		return waited.Value(key)
	}
	return b.Context.Value(key)
}

func (b *bounded) cancel() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.waited != nil:
		b.stop()
	case b.over() == nil:
		b.ended = context.Canceled
	}
}
