package main

import (
	"context"
	"fmt"
	"time"
)

// recoverWithin is how long is waited for a recovery before the run is given up.
const recoverWithin = 2 * time.Minute

// recovered waits until both instances take a change, its event is told and a push message is sent: all
// of them asked for from now on. It names what did not happen, if anything.
func (w *world) recovered(ctx context.Context) (missing string) {
	ctx, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	var names [2]string
	for i, p := range w.probes {
		if !until(ctx, func() bool {
			names[i] = w.changed(ctx, i, p)
			return names[i] != ""
		}) {
			return fmt.Sprintf("instance %d takes changes", i+1)
		}
	}
	id := fmt.Sprintf("probe-%d", time.Now().UnixNano())
	if !until(ctx, func() bool { return w.producer.try(ctx, id, pushBody(w.probes[0].id, id, 10)) == nil }) {
		return "the broker takes messages"
	}
	for _, l := range w.listeners {
		for what, mark := range map[string]string{
			"events of instance 1": w.probes[0].id + " " + names[0], "events of instance 2": w.probes[1].id + " " + names[1], "outcomes of messages": id,
		} {
			if !until(ctx, func() bool { return l.has(mark) }) {
				return l.name + " hears " + what
			}
		}
	}
	return ""
}

// until asks until it is so; false when time is up.
func until(ctx context.Context, so func() bool) bool {
	for !so() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// changed tries once to change the name of a probe, and gives the new one when it was acknowledged.
// There is no X-Request-ID: one that was lost would be taken for a minute.
func (w *world) changed(ctx context.Context, instance int, p *person) string {
	name := fmt.Sprintf("Probe %d", time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a, err := w.client.once(ctx, instance, request{method: "PATCH", path: "/users/profile/", token: p.token, body: map[string]string{"name": name}})
	if err != nil || a.status != 200 {
		return ""
	}
	return name
}
