package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// restWithin is longer than a lease, the longest wait of a retry, and what has piled up.
const restWithin = 4 * time.Minute

// rest waits until there is nothing left to do, or nothing more will be done.
func (w *world) rest(ctx context.Context) {
	ids := w.producer.confirmed()
	deadline := time.Now().Add(restWithin)
	for {
		outbox := w.number(ctx, `SELECT count(*) FROM messaging.outbox WHERE topic <> 'email'`)
		unfinished := w.number(ctx, `SELECT count(*) FROM push.deliveries WHERE status IN ('sending', 'retrying')`)
		unsettled := w.unsettled(ctx, ids)
		ready, _ := w.depth(w.ours()...)
		if outbox == 0 && unfinished == 0 && unsettled == 0 && ready == 0 {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			w.restless = fmt.Sprintf("after %s of rest there are %d events in the outbox, %d messages in queues, %d deliveries that are not final and %d messages without one",
				restWithin, outbox, ready, unfinished, unsettled)
			break
		}
		pause(ctx, 200*time.Millisecond)
	}
	for _, l := range w.listeners { // what they have taken, they will have printed
		for before := -1; before != len(first(l.all())) && ctx.Err() == nil; pause(ctx, time.Second) {
			before = len(first(l.all()))
		}
	}
	check(ctx.Err())
}

func first[T any](value T, _ error) T { return value }

// inspect looks at the processes that are still there: a leak is what is not given back at rest.
func (w *world) inspect(ctx context.Context, r *report) {
	w.client.http.CloseIdleConnections()
	for _, p := range w.alive() {
		use := use{Process: p.name, GoroutinesBefore: int(w.goroutines[p.role]), MiBBefore: w.resident[p.role]}
		// Connections that are idle end by themselves, and memory is given back after the next collection,
		// which is two minutes away when there is nothing to do.
		for deadline := time.Now().Add(restWithin); ctx.Err() == nil; pause(ctx, 500*time.Millisecond) {
			use.Goroutines, use.MiB = p.goroutines(ctx), p.resident()
			if !use.leaksGoroutines() && !use.leaksMemory() || time.Now().After(deadline) {
				break
			}
		}
		if use.leaksGoroutines() {
			r.found("%s has %d goroutines at rest, and one like it had %d when it started", p.name, use.Goroutines, use.GoroutinesBefore)
		}
		if use.leaksMemory() {
			r.found("%s uses %.0f MiB, and one like it used %.0f before the faults", p.name, use.MiB, use.MiBBefore)
		}
		r.Processes = append(r.Processes, use)
	}
	slices.Sort(r.Findings)
}
