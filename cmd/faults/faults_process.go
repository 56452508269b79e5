package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// processFaults end processes of the service, or stop them for a while.
func processFaults() []fault {
	return []fault{
		{name: "kill-all", what: "every process is killed at once", first: true, repeats: concurrency, make: func(ctx context.Context, w *world) {
			killed := w.alive()
			for _, p := range killed {
				_ = p.cmd.Process.Kill()
			}
			for _, p := range killed {
				p.kill()
			}
			w.hold(ctx, 2*time.Second)
			for _, p := range killed {
				p.start()
			}
		}},
		{name: "kill-api", what: "an API is killed", make: func(ctx context.Context, w *world) { killFor(ctx, w, w.apis[0], 3*time.Second) }},
		{name: "kill-consumer", what: "the consumer is killed", quick: true, repeats: concurrency, make: func(ctx context.Context, w *world) {
			killFor(ctx, w, w.consumer, 3*time.Second)
		}},
		{name: "kill-relay", what: "the relay is killed", make: func(ctx context.Context, w *world) { killFor(ctx, w, w.relay, 3*time.Second) }},
		{name: "kill-relay-of-two", what: "the relay is killed, and another takes over within 2 s", make: func(ctx context.Context, w *world) {
			with(ctx, w.relay2, func() {
				w.relay.kill()
				w.recovered(ctx)
			})
			w.relay.start()
		}},
		{name: "kill-consumer-of-two", what: "one of two consumers is killed", repeats: concurrency, make: func(ctx context.Context, w *world) {
			with(ctx, w.consumer2, func() { killFor(ctx, w, w.consumer, 3*time.Second) })
		}},
		{name: "kill-whole", what: "a process that does everything joins, and is killed", repeats: concurrency, make: func(ctx context.Context, w *world) {
			w.whole.start()
			w.whole.ready(ctx)
			w.hold(ctx, 4*time.Second)
			w.whole.kill()
		}},
		{name: "term-api", what: "an API is asked to end, and started again, three times", quick: true, spotless: true, make: func(ctx context.Context, w *world) {
			for range 3 {
				w.apis[0].terminate()
				w.apis[0].start()
				w.apis[0].ready(ctx)
			}
		}},
		{name: "term-consumer", what: "the consumer is asked to end, and started again", make: func(_ context.Context, w *world) {
			w.consumer.terminate()
			w.consumer.start()
		}},
		{name: "term-relay", what: "the relay is asked to end, and started again", make: func(_ context.Context, w *world) {
			w.relay.terminate()
			w.relay.start()
		}},
		{name: "logs-full", what: "the disk that the logs go to is full", make: func(ctx context.Context, w *world) {
			logTo(ctx, w.apis[0], "/dev/full", func() { w.hold(ctx, 6*time.Second) })
			logTo(ctx, w.consumer, "/dev/full", func() { w.hold(ctx, 6*time.Second) })
		}},
		{name: "clock-ahead", what: "an API's clock jumps ahead by more than its leases, and back", prepare: buildClockwork, make: func(ctx context.Context, w *world) { jump(ctx, w, 90*time.Second) }},
		{name: "clock-behind", what: "an API's clock jumps back by more than its leases, and ahead again", prepare: buildClockwork, make: func(ctx context.Context, w *world) { jump(ctx, w, -90*time.Second) }},
		{name: "stop-api", what: "an API is stopped for longer than its leases, and goes on", make: func(ctx context.Context, w *world) {
			stopFor(ctx, w.apis[0], 65*time.Second)
		}},
		{name: "stop-consumer", what: "one of two consumers is stopped for longer than its leases, and goes on", repeats: concurrency, make: func(ctx context.Context, w *world) {
			with(ctx, w.consumer2, func() { stopFor(ctx, w.consumer, 65*time.Second) })
		}},
		{name: "stop-relay", what: "one of two relays is stopped for longer than the database waits for it, and goes on", make: func(ctx context.Context, w *world) {
			with(ctx, w.relay2, func() { stopFor(ctx, w.relay, 40*time.Second) })
		}},
	}
}

func killFor(ctx context.Context, w *world, p *process, d time.Duration) {
	p.kill()
	w.hold(ctx, d)
	p.start()
}

// logTo has a process say what it has to say elsewhere for a while.
func logTo(ctx context.Context, p *process, file string, fn func()) {
	p.terminate()
	usual := p.output
	p.output = file
	p.start()
	p.ready(ctx)
	fn()
	p.terminate()
	p.output = usual
	p.start()
	p.ready(ctx)
}

// jump has an API run for a while whose clock is wrong from a moment after its start.
func jump(ctx context.Context, w *world, by time.Duration) {
	p := w.apis[1]
	usual, env := p.path, p.env
	p.terminate()
	p.path, p.env = w.clockwork(), append(slices.Clone(env), clockJumpsBy+"="+strconv.Itoa(int(by.Seconds())))
	p.start()
	p.ready(ctx)
	w.hold(ctx, clockJumpsAfter+15*time.Second)
	if wrongBy := time.Until(p.date(ctx)); (wrongBy - by).Abs() > 5*time.Second {
		check(fmt.Errorf("the clock of %s should be wrong by %s, and is by %s", p.name, by, wrongBy))
	}
	p.terminate()
	p.path, p.env = usual, env
	p.start()
	p.ready(ctx)
}

func stopFor(ctx context.Context, p *process, d time.Duration) {
	p.freeze()
	defer p.thaw()
	pause(ctx, d)
}

// with has another process help meanwhile.
func with(ctx context.Context, another *process, fn func()) {
	another.start()
	another.ready(ctx)
	fn()
	another.terminate()
}
