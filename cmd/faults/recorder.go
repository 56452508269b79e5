package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// span is a stretch of time, and what clients met in it.
type span struct {
	mu        sync.Mutex
	latencies []time.Duration // of each request that was answered
	met
}

// met is what requests met.
type met struct {
	answered int
	refused  int      // without an answer
	errors   int      // 5xx
	failed   []string // that were not sent before
}

func (s *span) add(r request, took time.Duration, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.status == 0 {
		s.refused++
		return
	}
	s.answered++
	s.latencies = append(s.latencies, took)
	if a.status >= 500 {
		s.errors++
	}
	// What was sent before may be thought to be worked on for as long as a lease lasts.
	if a.status >= 400 && r.since == s {
		s.failed = append(s.failed, fmt.Sprintf("%s %s %d %s", r.method, r.path, a.status, a.Error))
	}
}

// soFar is safe while requests that began in the span are still out.
func (s *span) soFar() met {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.met
	m.failed = slices.Clone(m.failed)
	return m
}

// p99 is in milliseconds; 0 where nobody was answered.
func (s *span) p99() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.latencies) == 0 {
		return 0
	}
	slices.Sort(s.latencies)
	return s.latencies[max((len(s.latencies)*99+99)/100, 1)-1].Seconds() * 1000
}

// recorder knows what is on, for those who write down when something happened to them.
type recorder struct {
	now   atomic.Pointer[span]
	fault atomic.Int32 // index in the plan of the latest fault; the calm that follows is its own
	acked atomic.Int64 // operations that clients were told are done

	mu    sync.Mutex
	stale map[int][]string // reads that did not show an acknowledged write, by fault
	late  map[int]int      // that showed it within the second that is allowed while Redis is out of reach
	wrong map[int][]string // answers that nobody has to expect
}

func newRecorder() *recorder {
	r := &recorder{stale: map[int][]string{}, late: map[int]int{}, wrong: map[int][]string{}}
	r.begin()
	return r
}

// begin starts a new span.
func (r *recorder) begin() *span {
	s := new(span)
	r.now.Store(s)
	return s
}

func (r *recorder) during() int { return int(r.fault.Load()) }

func (r *recorder) sawStale(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale[r.during()] = append(r.stale[r.during()], what)
}

func (r *recorder) sawWrong(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong[r.during()] = append(r.wrong[r.during()], err.Error())
}

func (r *recorder) sawLate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late[r.during()]++
}
