// Package batch has done together what is asked for at the same time: a round trip to a server, or a
// commit that must reach the disk, costs many hardly more than one.
package batch

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group is safe for concurrent use. Who comes when it is at rest waits for nobody; while a run is under
// way the next batch gathers, so that it is the larger the more there is to do.
type Group[T any] struct {
	run   func([]T)
	key   func(T) string // nil: no item is in the way of another
	limit int            // of runs at once

	mu      sync.Mutex
	waiting []*place[T]
	running int
	busy    map[string]bool // keys of items that are being run
}

// place is an item's in a batch.
type place[T any] struct {
	ctx  context.Context
	item T
	key  string
	done chan struct{} // closed when it has been run
	err  error
}

// New makes a group with at most limit runs at once. With one, all wait for a run that is slow; with
// many, batches are too small to save anything.
func New[T any](limit int, run func(items []T)) *Group[T] { return &Group[T]{run: run, limit: limit} }

// Do returns when item has been run: what came of it is in the item. The error is that of ctx when it
// ends first: then item is not run any more, unless its run was under way, which goes on. Or it says that
// run panicked.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	mine := &place[T]{ctx: ctx, item: item, done: make(chan struct{})}
	if g.key != nil {
		mine.key = g.key(item)
	}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	if g.running < g.limit {
		g.running++
		go g.work()
	}
	g.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waiting is how many items wait for a run.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// work runs batches for as long as somebody waits whose key is free. Who waits for a key is taken by the
// run that frees it.
func (g *Group[T]) work() {
	for batch := g.next(nil); len(batch) > 0; batch = g.next(batch) {
		g.runAll(batch)
	}
}

// next frees the keys of the batch before, and takes all who wait: of a key the first one.
func (g *Group[T]) next(before []*place[T]) (batch []*place[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range before {
		delete(g.busy, p.key)
	}
	var later []*place[T]
	for _, p := range g.waiting {
		switch {
		case p.ctx.Err() != nil: // nobody waits for it any more
		case g.key != nil && g.busy[p.key]:
			later = append(later, p)
		default:
			batch = append(batch, p)
			if g.key != nil {
				g.take(p.key)
			}
		}
	}
	g.waiting = later
	if len(batch) == 0 {
		g.running--
	}
	return batch
}

func (g *Group[T]) take(key string) {
	if g.busy == nil {
		g.busy = map[string]bool{}
	}
	g.busy[key] = true
}

func (g *Group[T]) runAll(batch []*place[T]) {
	defer func() {
		var err error
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("batch: panic: %v\n%s", panicked, debug.Stack())
		}
		for _, p := range batch {
			p.err = err
			close(p.done)
		}
	}()
	items := make([]T, len(batch))
	for i, p := range batch {
		items[i] = p.item
	}
	g.run(items)
}
