// Package batch has done together what is asked for at the same time: a round trip to a server, or a
// commit that must reach the disk, costs many hardly more than one.
package batch

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"user-service/platform/stack"
)

// AtOnce is how many runs there are at once at the most.
const AtOnce = 4

// Patience is how long a run may take before those who have come meanwhile get one of their own. Two at
// once from the start would halve the batches of a crowd, and save half as much.
const Patience = 20 * time.Millisecond

// Manner is the choice between runs that come soon and runs of many.
type Manner struct {
	Few    int           // that many items do not wait for a run of others; one at least
	Linger time.Duration // so long who comes when the group is at rest waits for company
}

// Group is safe for concurrent use. While a run is under way the next batch gathers, so that it is the larger
// the more there is to do.
type Group[T any] struct {
	run    func([]T)
	key    func(T) string // nil: no item is in the way of another
	manner Manner

	mu      sync.Mutex
	waiting []*place[T]
	inRuns  int // items
	running int
	slow    int             // of these have lasted longer than Patience
	busy    map[string]bool // keys of items that are being run

	places  sync.Pool // of *place[T]
	watches sync.Pool // of *time.Timer, stopped
}

// place is an item's in a batch.
type place[T any] struct {
	ctx  context.Context
	item T
	key  string
	done chan struct{} // tells, once, that it has been run
	err  error
}

// New makes a group that runs its items by run.
func New[T any](manner Manner, run func(items []T)) *Group[T] {
	return &Group[T]{run: run, manner: Manner{max(manner.Few, 1), manner.Linger}}
}

// Do returns when item has been run: what came of it is in the item. The error is that of ctx when it
// ends first: then item is not run any more, unless its run was under way, which goes on. Or it says that
// run panicked.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	mine, used := g.places.Get().(*place[T])
	if !used {
		mine = &place[T]{done: make(chan struct{}, 1)}
	}
	mine.ctx, mine.item = ctx, item
	if g.key != nil {
		mine.key = g.key(item)
	}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	g.start()
	g.mu.Unlock()
	select {
	case <-mine.done:
		err := mine.err
		*mine = place[T]{done: mine.done}
		g.places.Put(mine)
		return err
	case <-ctx.Done():
		return ctx.Err() // its place is in a batch still
	}
}

// Waiting is how many items wait for a run.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// start has those who wait be run, unless somebody will take them soon. mu is held.
func (g *Group[T]) start() {
	if len(g.waiting) > 0 && (g.areFew() || g.running == g.slow) && g.running < AtOnce {
		g.running++
		go g.work()
	}
}

func (g *Group[T]) areFew() bool { return g.inRuns+len(g.waiting) <= g.manner.Few }

// work runs batches for as long as somebody waits whose key is free.
func (g *Group[T]) work() {
	stack.Grow()
	if g.manner.Linger > 0 {
		<-time.After(g.manner.Linger)
	}
	slow := false // the run under way
	for batch := g.next(true, slow); len(batch) > 0; batch = g.next(false, slow) {
		watch := g.watch()
		err := g.runAll(batch)
		if slow = !watch.Stop(); !slow {
			g.watches.Put(watch)
		}
		g.leave(batch, err)
	}
}

// watch has the run that begins be lost when it takes long.
func (g *Group[T]) watch() *time.Timer {
	watch, used := g.watches.Get().(*time.Timer)
	if !used {
		return time.AfterFunc(Patience, g.lose)
	}
	watch.Reset(Patience)
	return watch
}

// lose counts on a run no more: those who wait get another one.
func (g *Group[T]) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow++
	g.start()
}

// next takes all who wait: of a key the first one. It leaves them to another run that is under way and not
// slow, unless they are few, or this is the first of a goroutine that was started for them.
func (g *Group[T]) next(first, wasSlow bool) (batch []*place[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wasSlow {
		g.slow-- // where lose has yet to count it, less than none: then it starts a run for who comes until it does
	}
	if first || g.areFew() || g.running-g.slow == 1 {
		batch = g.takeAll()
		g.inRuns += len(batch)
	}
	if len(batch) == 0 {
		g.running--
	}
	return batch
}

func (g *Group[T]) takeAll() []*place[T] {
	var later []*place[T]
	batch := make([]*place[T], 0, len(g.waiting))
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
	return batch
}

func (g *Group[T]) take(key string) {
	if g.busy == nil {
		g.busy = map[string]bool{}
	}
	g.busy[key] = true
}

func (g *Group[T]) runAll(batch []*place[T]) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("batch: panic: %v\n%s", panicked, debug.Stack())
		}
	}()
	items := make([]T, len(batch))
	for i, p := range batch {
		items[i] = p.item
	}
	g.run(items)
	return nil
}

// leave frees the keys of a batch and tells its callers, whose places are theirs again.
func (g *Group[T]) leave(batch []*place[T], err error) {
	g.mu.Lock()
	g.inRuns -= len(batch)
	for _, p := range batch {
		delete(g.busy, p.key)
	}
	g.mu.Unlock()
	for _, p := range batch {
		p.err = err
		p.done <- struct{}{}
	}
}
