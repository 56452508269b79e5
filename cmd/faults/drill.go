package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// fault is something that happens to a system that runs.
type fault struct {
	name string
	what string
	make func(ctx context.Context, w *world) // returns when it is over: what was away is back

	prepare func(ctx context.Context, w *world) // what takes long and can be done before anything happens; nil: nothing

	quick     bool          // belongs to the cut
	first     bool          // comes before all others: nobody lives through it
	within    time.Duration // what it may take until all is as before; 0: as long as it takes
	repeats   int           // messages that may reach the provider twice: those in the works when it happened
	spotless  bool          // no request may fail, but for want of a connection
	cacheLags bool          // Redis is out of an instance's reach
	idle      bool          // of push messages: what is confirmed meanwhile would be lost with its queue
}

// choose gives the faults in the order in which they will happen.
func choose(names []string, quick bool, seed uint64) ([]fault, uint64, error) {
	if seed == 0 {
		seed = rand.Uint64() >> 32
	}
	byName := map[string]fault{}
	var plan []fault
	for _, f := range faults() {
		byName[f.name] = f
		if len(names) == 0 && (f.quick || !quick) {
			plan = append(plan, f)
		}
	}
	for _, name := range names {
		f, known := byName[name]
		if !known {
			return nil, 0, fmt.Errorf("there is no fault %q; --list names them", name)
		}
		plan = append(plan, f)
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	rnd.Shuffle(len(plan), func(a, b int) { plan[a], plan[b] = plan[b], plan[a] })
	for i, f := range plan {
		if f.first {
			copy(plan[1:], plan[:i])
			plan[0] = f
		}
	}
	return plan, seed, nil
}

// calm is how long nothing happens before and after a fault.
func (w *world) calm(ctx context.Context) {
	d := 5 * time.Second
	if w.quick {
		d = 2 * time.Second
	}
	pause(ctx, d)
}

// hold is how long something is away.
func (w *world) hold(ctx context.Context, d time.Duration) {
	if w.quick {
		d /= 2
	}
	pause(ctx, d)
}

// try makes the faults of plan one after another, while people live, and judges when all has come to
// rest.
func (w *world) try(ctx context.Context, plan []fault) *report {
	r := new(report)
	begin := time.Now()
	living, end := context.WithCancel(ctx)
	defer end()
	for _, f := range plan {
		if f.prepare != nil {
			f.prepare(ctx, w)
		}
	}
	w.populate(living)
	for range 4 { // until every pool and buffer has its size
		w.calm(ctx)
		for _, p := range w.alive() {
			w.resident[p.role] = max(w.resident[p.role], p.resident())
		}
	}
	for n, f := range plan {
		w.record.fault.Store(int32(n))
		w.began = append(w.began, time.Now())
		row, recovered := w.drill(ctx, f)
		r.Faults = append(r.Faults, row)
		fmt.Printf("%2d/%d %-22s %5.1f s, back after %4.1f s; %d operations acknowledged in %s\n",
			n+1, len(plan), f.name, row.Lasted, row.Recovery, w.record.acked.Load(), time.Since(begin).Round(time.Second))
		if !recovered {
			break
		}
	}
	w.sayGoodbye(ctx, end, r)
	w.rest(ctx)
	r.Acknowledged, r.Seconds = w.record.acked.Load(), time.Since(begin).Seconds()
	w.compare(ctx, plan[:len(r.Faults)], r)
	w.inspect(ctx, r)
	return r
}

// sayGoodbye waits until people have finished what they are at.
func (w *world) sayGoodbye(ctx context.Context, end context.CancelFunc, r *report) {
	fmt.Println("waiting until people have finished what they are at, and all has come to rest")
	close(w.leave)
	gone := make(chan struct{})
	go func() {
		w.crowd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(restWithin):
		r.found("some people were not answered for good within %s", restWithin)
	case <-ctx.Done():
	}
	end()
	<-gone
	check(ctx.Err())
}

// drill makes one fault, and says whether the service recovered.
func (w *world) drill(ctx context.Context, f fault) (row, bool) {
	before := w.record.begin()
	w.calm(ctx)
	release := func() {}
	if f.idle {
		release = w.quiet(ctx, 3*time.Minute)
	}
	during := w.record.begin()
	begin := time.Now()
	if f.cacheLags {
		w.lagUntil.Store(begin.Add(time.Hour).UnixNano())
	}
	f.make(ctx, w)
	release()
	back := time.Now()
	if f.cacheLags {
		w.lagUntil.Store(back.Add(lagFor).UnixNano())
	}
	missing := w.recovered(ctx)
	recovered := time.Now()
	after := w.record.begin()
	w.calm(ctx)
	met := during.soFar()
	r := row{
		Name: f.name, Lasted: back.Sub(begin).Seconds(), Recovery: recovered.Sub(back).Seconds(),
		Requests: met.answered, Errors: met.errors, Refused: met.refused, P99: [3]float64{before.p99(), during.p99(), after.p99()},
	}
	if missing != "" {
		r.broke("within %s after it there was no sign that %s", recoverWithin, missing)
	}
	r.Calm = before.soFar().failed
	r.judge(f, met, w.quick)
	return r, missing == ""
}

// judge looks at what need not wait for the end. The cut runs where other things run too, and so asks for
// promises only, and for no times.
func (r *row) judge(f fault, during met, quick bool) {
	if f.within > 0 && !quick && r.Recovery > f.within.Seconds() {
		r.broke("all was as before only after %.1f s, not within %s", r.Recovery, f.within)
	}
	if f.spotless && len(during.failed) > 0 {
		r.broke("requests failed: %s", strings.Join(some(during.failed), ", "))
	}
}
