package web

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"time"

	"user-service/platform/fault"
)

// Check asks one server for a sign of life.
type Check struct {
	Name     string // as shown: database, cache, broker, …
	Required bool   // without it nothing can be served: 503; otherwise the service is degraded
	Probe    func(ctx context.Context) error
}

// A report is kept for a moment, so that probes by many balancers cost the servers nothing: a good
// one for longer, since everybody waits for a bad one to end.
const (
	checkTimeout = 900 * time.Millisecond // a probe that waits for a second hears of it
	goodFor      = time.Second
	badFor       = 100 * time.Millisecond
)

// health runs the checks side by side and remembers their result for a moment.
type health struct {
	service string
	checks  []Check
	mu      sync.Mutex
	latest  healthReport
	until   time.Time // when latest is too old
}

type healthReport struct {
	Service   string            `json:"service" doc:"Name of the service." example:"user-service"`
	Status    string            `json:"status" doc:"How it is." enum:"healthy,degraded,unhealthy" example:"healthy"` // healthy, degraded, unhealthy
	Timestamp time.Time         `json:"timestamp" doc:"When it was looked at."`
	Checks    map[string]string `json:"checks,omitempty" doc:"Each server behind the service: up or down."` // up, down: no addresses, no error texts
}

// AddHealth serves below Base and without it: /health/ on the servers behind the service, /health/ready/
// on what this process needs to do its part, and /health/live/ on the process alone. Who is not ready
// gets no more requests, so ready must not judge what another process would not have either.
func (r *Router) AddHealth(service string, overall, ready []Check) {
	all, part := &health{service: service, checks: overall}, &health{service: service, checks: ready}
	for _, base := range []string{Base, ""} {
		for _, probe := range []struct {
			path, summary string
			show          http.HandlerFunc
		}{
			{"/health/", "Is the service well?", all.show},
			{"/health/ready/", "Can this process do its part?", part.show},
			{"/health/live/", "Is this process alive?", all.live},
		} {
			e := Endpoint{Method: http.MethodGet, Path: probe.path, Summary: probe.summary}
			r.routes = append(r.routes, Route{Endpoint: e, Base: base, In: reflect.TypeFor[None](), Out: reflect.TypeFor[healthReport](), Reports: true})
			r.add(e, base, probe.show)
		}
	}
}

func (h *health) live(w http.ResponseWriter, _ *http.Request) {
	report := healthReport{Service: h.service, Status: "healthy", Timestamp: time.Now().UTC()}
	writeReport(w, "The process is alive.", report)
}

func (h *health) show(w http.ResponseWriter, req *http.Request) {
	report := h.report(req.Context())
	if report.Status == "unhealthy" {
		refusal(fault.Away(nil), report).send(w)
		return
	}
	writeReport(w, "The service is "+report.Status+".", report)
}

func writeReport(w http.ResponseWriter, message string, report healthReport) {
	reply, _ := success(http.StatusOK, message, report) // text and times: it cannot fail
	reply.send(w)
}

// probe comes back when ctx ends, also from a probe that does not.
func (c Check) probe(ctx context.Context) error {
	result := make(chan error, 1)
	go func() { result <- c.Probe(ctx) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *health) report(ctx context.Context) healthReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(h.until) {
		return h.latest
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	results := make([]error, len(h.checks))
	var all sync.WaitGroup
	for i, check := range h.checks {
		all.Go(func() { results[i] = check.probe(ctx) })
	}
	all.Wait()

	report := healthReport{Service: h.service, Status: "healthy", Timestamp: time.Now().UTC(), Checks: map[string]string{}}
	for i, check := range h.checks {
		report.Checks[check.Name] = "up"
		if results[i] == nil {
			continue
		}
		report.Checks[check.Name] = "down"
		if check.Required {
			report.Status = "unhealthy"
		} else if report.Status == "healthy" {
			report.Status = "degraded"
		}
	}
	h.latest, h.until = report, time.Now().Add(goodFor)
	if report.Status != "healthy" {
		h.until = time.Now().Add(badFor)
	}
	return report
}
