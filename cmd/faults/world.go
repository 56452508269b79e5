package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	people      = 96
	perSecond   = 130 // operations that all people together begin when nothing holds them up
	concurrency = 16  // messages a consumer has in the works: so many may reach the provider twice when it is killed
)

// world is all there is: the servers, the service's processes, users, and those who listen.
type world struct {
	stack
	dir    string // of the servers and of what processes say
	module string // folder of the source
	binary string // the service
	quick  bool
	rnd    *rand.Rand

	fleet
	provider  *provider
	producer  *producer
	client    *client
	ledger    *ledger
	record    *recorder
	listeners []*listener
	probes    [2]*person // accounts for whoever wants to know whether an instance does its part

	lagUntil atomic.Int64 // Redis is out of an instance's reach, or was a moment ago; nanoseconds since 1970

	began      []time.Time // when each fault did
	restless   string      // why there was no rest
	clockBuilt bool

	crowd sync.WaitGroup
	leave chan struct{} // closed: people finish what they are at
}

// fleet is the service's processes. Those of the second line are started by faults that want them.
type fleet struct {
	apis                 [2]*process
	consumer, relay      *process
	consumer2, relay2    *process
	whole                *process
	goroutines, resident map[string]float64 // at rest and at work, by role
}

func newWorld(dir string, quick bool, seed uint64) *world {
	return &world{
		dir: dir, quick: quick, rnd: rand.New(rand.NewPCG(seed, 1)), leave: make(chan struct{}),
		ledger: new(ledger), record: newRecorder(), fleet: fleet{goroutines: map[string]float64{}, resident: map[string]float64{}},
	}
}

// open starts everything. What it has made when it fails is left to close.
func (w *world) open(ctx context.Context, binary string) {
	check(os.MkdirAll(w.dir, 0o755))
	w.module = strings.TrimSpace(string(must(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "user-service").Output())))
	if w.binary = binary; binary == "" {
		w.binary = filepath.Join(w.dir, "user-service")
		fmt.Println("building the service")
		build := w.command(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.binary, "user-service/cmd/user-service")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		check(build.Run())
	}
	w.stack.open(ctx, w.dir)
	w.provider = newProvider(w.dir)
	w.provider.open(ctx, w.record.during)
	w.producer = &producer{url: w.rabbitmq.URL}
	w.openListeners(ctx)
	w.openFleet(ctx)
	w.client = newClient(w.apis[0].address, w.apis[1].address, w.record)
	for i := range w.probes {
		w.probes[i] = &person{world: w, rnd: rand.New(rand.NewPCG(w.rnd.Uint64(), 2))}
		check(w.probes[i].register(ctx))
	}
	w.ledger.accounts = nil // probes try and give up, so that nobody knows what is to be found of them
}

// openFleet starts the first line, and notes what it takes to be idle.
func (w *world) openFleet(ctx context.Context) {
	fmt.Println("starting two APIs, a consumer and a relay")
	w.apis[0] = w.newProcess("api-1", "api", w.toRedis[0], "serve", "--only", "api")
	w.apis[1] = w.newProcess("api-2", "api", w.toRedis[1], "serve", "--only", "api")
	w.consumer = w.newProcess("consumer-1", "consumer", w.toRedis[1], "consume")
	w.consumer2 = w.newProcess("consumer-2", "consumer", w.toRedis[1], "consume")
	w.relay = w.newProcess("relay-1", "relay", w.toRedis[1], "serve", "--only", "relay")
	w.relay2 = w.newProcess("relay-2", "relay", w.toRedis[1], "serve", "--only", "relay")
	w.whole = w.newProcess("whole", "whole", w.toRedis[1], "serve")
	for _, p := range w.line() {
		_ = os.Remove(p.output)
	}
	migrate := w.command(ctx, w.binary, "migrate", "up")
	migrate.Env = w.apis[0].env
	check(migrate.Run())
	for _, p := range w.line() {
		if p != w.consumer2 && p != w.relay2 && p != w.whole {
			p.start()
		}
	}
	for _, p := range w.alive() {
		p.ready(ctx)
	}
	pause(ctx, 2*time.Second) // what a start takes is given back
	for _, p := range w.alive() {
		w.goroutines[p.role] = float64(p.goroutines(ctx))
	}
}

// line is every process there may be.
func (f *fleet) line() []*process {
	return []*process{f.apis[0], f.apis[1], f.consumer, f.relay, f.consumer2, f.relay2, f.whole}
}

func (f *fleet) alive() (all []*process) {
	for _, p := range f.line() {
		if p != nil && p.running() {
			all = append(all, p)
		}
	}
	return all
}

// populate has people come, and live until they are told to leave.
func (w *world) populate(ctx context.Context) {
	fmt.Printf("%d people register\n", people)
	pace := people * time.Second / perSecond
	var arrivals errgroup.Group
	arrivals.SetLimit(4)
	for n := range people {
		p := &person{world: w, rnd: rand.New(rand.NewPCG(w.rnd.Uint64(), uint64(n)))}
		arrivals.Go(func() error {
			err := p.register(ctx)
			if err == nil {
				w.crowd.Go(func() { p.live(ctx, w.leave, pace) })
			}
			return err
		})
	}
	check(arrivals.Wait())
}

// lagFor is how much later than at once others may see a change, while Redis is out of an instance's reach
// and just after.
const lagFor = time.Second

// cacheMayLag says whether this is such a time.
func (w *world) cacheMayLag(at time.Time) bool { return at.UnixNano() < w.lagUntil.Load() }

// close leaves nothing behind but what the processes said.
func (w *world) close() {
	for _, p := range w.line() {
		if p != nil {
			p.kill()
		}
	}
	if w.producer != nil {
		w.producer.close()
	}
	for _, l := range w.listeners {
		l.close()
	}
	if w.provider != nil {
		w.provider.close()
	}
	w.stack.close()
}
