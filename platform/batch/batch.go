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
	limit int // of runs at once

	mu      sync.Mutex
	waiting []*place[T]
	running int
}

// place is an item's in a batch.
type place[T any] struct {
	item T
	done chan struct{} // closed when it has been run
	err  error
}

// New makes a group with at most limit runs at once. With one, all wait for a run that is slow; with
// many, batches are too small to save anything.
func New[T any](limit int, run func(items []T)) *Group[T] { return &Group[T]{run: run, limit: limit} }

// Do returns when item has been run: what came of it is in the item. The error is that of ctx when it
// ends first, and then item is run all the same; or says that run panicked.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	mine := &place[T]{item: item, done: make(chan struct{})}
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

// work runs batches for as long as somebody waits.
func (g *Group[T]) work() {
	for {
		g.mu.Lock()
		batch := g.waiting
		g.waiting = nil
		if len(batch) == 0 {
			g.running--
		}
		g.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		g.runAll(batch)
	}
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
