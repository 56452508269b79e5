package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

const latencyRate = 500 // messages a second, whatever becomes of them: who is slow is not spared

// latency is how long messages take at an even pace.
type latency struct {
	Rate       int     `json:"messages_per_second"`
	FloorP50   float64 `json:"floor_p50_ms"`
	FloorP99   float64 `json:"floor_p99_ms"`
	ServiceP50 float64 `json:"service_p50_ms"`
	ServiceP99 float64 `json:"service_p99_ms"`
	RatioP50   float64 `json:"ratio_of_p50"` // median of each round's own
	RatioP99   float64 `json:"ratio_of_p99"` // likewise
}

// evenly sends messages at an even pace for a while, and gives how long each took.
type evenly func(ctx context.Context, length time.Duration) []time.Duration

// compare alternates floor and service.
func (w *world) compare(ctx context.Context, name string, rate, rounds int, length time.Duration, floor, service evenly) *latency {
	var floor50, floor99, service50, service99, ratios50, ratios99 []float64
	for _, side := range []evenly{floor, service} {
		w.settle(ctx)
		side(ctx, time.Duration(float64(length)*warmUp))
	}
	for n := range rounds {
		w.settle(ctx)
		ofFloor := floor(ctx, length)
		w.settle(ctx)
		ofService := service(ctx, length)
		floor50, floor99 = append(floor50, milliseconds(ofFloor, 50)), append(floor99, milliseconds(ofFloor, 99))
		service50, service99 = append(service50, milliseconds(ofService, 50)), append(service99, milliseconds(ofService, 99))
		ratios50, ratios99 = append(ratios50, service50[n]/floor50[n]), append(ratios99, service99[n]/floor99[n])
		fmt.Printf("%s round %d of %d  p50 and p99 at %d/s: floor %.1f and %.1f ms, service %.1f and %.1f ms\n",
			name, n+1, rounds, rate, floor50[n], floor99[n], service50[n], service99[n])
	}
	return &latency{
		Rate: rate, FloorP50: median(floor50), FloorP99: median(floor99),
		ServiceP50: median(service50), ServiceP99: median(service99), RatioP50: median(ratios50), RatioP99: median(ratios99),
	}
}

// measureLatency has floor and service hand the same messages to a provider of ours. It lasts from when
// a message was due to be published until the provider had it.
func (w *world) measureLatency(ctx context.Context, rounds int, length time.Duration) *latency {
	p := new(provider)
	p.address = w.serve(ctx, p)
	w.restartService(ctx, webhook(p.address)...)
	through := func(queue string) evenly {
		return func(ctx context.Context, length time.Duration) []time.Duration {
			return w.publishEvenly(ctx, p, queue, length)
		}
	}
	l := w.compare(ctx, "latency", latencyRate, rounds, length, through(floorQueue), through("push.queue"))
	w.restartService(ctx) // as the other jobs have it
	return l
}

// publishEvenly publishes at latencyRate, and gives the latency of each message.
func (w *world) publishEvenly(ctx context.Context, p *provider, queue string, length time.Duration) []time.Duration {
	ch := must(w.broker.Channel())
	defer func() { _ = ch.Close() }()
	must(w.db.ExecContext(ctx, "TRUNCATE push.deliveries"))
	messages := int(length.Seconds() * latencyRate)
	round := p.expect(messages)
	begin := time.Now()
	for n := range messages {
		due := begin.Add(time.Duration(n) * time.Second / latencyRate)
		time.Sleep(time.Until(due))
		round.due[n] = due
		check(ch.PublishWithContext(ctx, "", queue, false, false, amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, ReplyTo: p.address, // for the floor
			Body: pushBody(fmt.Sprintf("%s/%d", round.name, n), w.users[n%userCount].id),
		}))
	}
	await(ctx, "the provider has every message", 5*time.Millisecond, func() bool { return round.done() == messages })
	return round.latencies
}

// provider notes when each message of a round reaches it for the first time.
type provider struct {
	address string
	mu      sync.Mutex
	round   *evenRound
}

type evenRound struct {
	mu        sync.Mutex
	name      string
	due       []time.Time
	latencies []time.Duration
	arrived   map[int]bool
}

func (p *provider) expect(messages int) *evenRound {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round = &evenRound{name: uuid.NewString(), due: make([]time.Time, messages), arrived: map[int]bool{}}
	return p.round
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	var n struct {
		RequestID string `json:"request_id"`
	}
	if json.NewDecoder(req.Body).Decode(&n) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	round := p.round
	p.mu.Unlock()
	round.arrive(n.RequestID, now)
}

func (r *evenRound) arrive(requestID string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, number, _ := strings.Cut(requestID, "/")
	n, err := strconv.Atoi(number)
	if name != r.name || err != nil || r.arrived[n] {
		return // of a round before, or once more
	}
	r.arrived[n] = true
	r.latencies = append(r.latencies, now.Sub(r.due[n]))
}

func (r *evenRound) done() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.latencies)
}
