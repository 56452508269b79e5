package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const eventRate = readers * int(time.Second/readEvery)

// measureEvents changes preferences at an even pace, and has the events received by a consumer of
// their exchange.
func (w *world) measureEvents(ctx context.Context, rounds int, length time.Duration) *latency {
	floor := w.changesReceived(w.floor, floorEvents)
	service := w.changesReceived(w.service, "user.events")
	return w.compare(ctx, "events", eventRate, rounds, length, floor, service)
}

// changesReceived measures from the time in the event, which is the beginning of the transaction: so
// its statements and its commit count too, on either side.
func (w *world) changesReceived(program *child, exchange string) evenly {
	users := w.users[restConnections:][:readers] // no other job changes them
	turns := make([]int, readers)                // go on from round to round
	return func(ctx context.Context, length time.Duration) []time.Duration {
		ch := must(w.broker.Channel())
		defer func() { _ = ch.Close() }()
		queue := must(ch.QueueDeclare("", false, true, true, false, nil)).Name
		check(ch.QueueBind(queue, "user.preferences_changed", exchange, false, nil))
		arrived := new(arrivals)
		go arrived.take(must(ch.Consume(queue, "", true, true, false, false, nil)))
		changes := len(w.pace(ctx, program, users, switching, turns, length))
		await(ctx, "every event is received", 5*time.Millisecond, func() bool { return len(arrived.all()) >= changes })
		latencies := arrived.all()
		if len(latencies) != changes {
			check(fmt.Errorf("%d changes made %d events", changes, len(latencies)))
		}
		return latencies
	}
}

// arrivals are the ages of the events that a consumer got.
type arrivals struct {
	mu        sync.Mutex
	latencies []time.Duration
}

func (a *arrivals) take(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		now := time.Now()
		var event struct{ Time time.Time }
		if json.Unmarshal(d.Body, &event) != nil {
			continue // it is missed at the end
		}
		a.mu.Lock()
		a.latencies = append(a.latencies, now.Sub(event.Time))
		a.mu.Unlock()
	}
}

func (a *arrivals) all() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.latencies)
}
