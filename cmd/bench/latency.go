package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

const latencyRate = 500 // messages a second, whatever becomes of them: who is slow is not spared

// latency is the time from when a message was due to be published until the provider had it.
type latency struct {
	Rate       int     `json:"messages_per_second"`
	FloorP50   float64 `json:"floor_p50_ms"`
	FloorP99   float64 `json:"floor_p99_ms"`
	ServiceP50 float64 `json:"service_p50_ms"`
	ServiceP99 float64 `json:"service_p99_ms"`
	Ratio      float64 `json:"ratio_of_p99"` // median of each round's own
}

// measureLatency has floor and service hand the same messages to a provider of ours.
func (w *world) measureLatency(ctx context.Context, rounds int, length time.Duration) *latency {
	p := newProvider(ctx)
	defer func() { _ = p.server.Close() }()
	w.service.stop()
	w.startService(ctx, "PUSH_PROVIDER=webhook", "PUSH_WEBHOOK_URL="+p.address)
	warm := time.Duration(float64(length) * warmUp)
	for _, queue := range []string{floorQueue, "push.queue"} {
		w.publishEvenly(ctx, p, queue, warm)
	}
	var floor50, floor99, service50, service99, ratios []float64
	for n := range rounds {
		w.settle(ctx)
		floor := w.publishEvenly(ctx, p, floorQueue, length)
		w.settle(ctx)
		service := w.publishEvenly(ctx, p, "push.queue", length)
		floor50, floor99 = append(floor50, milliseconds(floor, 50)), append(floor99, milliseconds(floor, 99))
		service50, service99 = append(service50, milliseconds(service, 50)), append(service99, milliseconds(service, 99))
		ratios = append(ratios, service99[n]/floor99[n])
		fmt.Printf("latency round %d of %d  p50 and p99 at %d/s: floor %.1f and %.1f ms, service %.1f and %.1f ms\n",
			n+1, rounds, latencyRate, floor50[n], floor99[n], service50[n], service99[n])
	}
	w.service.stop()
	w.startService(ctx) // as the other jobs have it
	return &latency{
		Rate: latencyRate, FloorP50: median(floor50), FloorP99: median(floor99),
		ServiceP50: median(service50), ServiceP99: median(service99), Ratio: median(ratios),
	}
}

// publishEvenly publishes at latencyRate, and gives the latency of each message.
func (w *world) publishEvenly(ctx context.Context, p *provider, queue string, length time.Duration) []time.Duration {
	ch := must(w.broker.Channel()) // w.amqp has transactions
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
	server  *http.Server
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

func newProvider(ctx context.Context) *provider {
	listener := must(new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"))
	p := &provider{address: "http://" + listener.Addr().String()}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = p.server.Serve(listener) }()
	return p
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
