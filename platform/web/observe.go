package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/correlation"
	"user-service/platform/fault"
	"user-service/platform/identity"
)

// observation is the context of one request, and gathers what its line and figures tell. Inner handlers
// fill it in.
type observation struct {
	context.Context
	recorder
	id        [1]string // of correlation, as a header has it
	route     string    // template: bounded, unlike the path
	principal identity.Principal
}

type observationKey struct{}

// Value implements context.Context.
func (o *observation) Value(key any) any {
	if key == (observationKey{}) {
		return o
	}
	return o.Context.Value(key)
}

// line is what the log has of the request.
func (o *observation) line(log *slog.Logger, req *http.Request, took time.Duration) {
	attrs := [...]slog.Attr{
		slog.String("method", method(req)), slog.String("route", o.route), slog.Int("status", o.status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int("bytes", o.bytes),
		slog.String("user_id", o.principal.UserID), slog.String("session", o.principal.SessionID),
	}
	known := len(attrs)
	if o.principal.UserID == "" {
		known -= 2
	}
	log.LogAttrs(o, slog.LevelInfo, "request", attrs[:known]...)
}

func note(ctx context.Context, p identity.Principal) {
	if o, ok := ctx.Value(observationKey{}).(*observation); ok {
		o.principal = p
	}
}

func noteRoute(ctx context.Context, template string) {
	if o, ok := ctx.Value(observationKey{}).(*observation); ok {
		o.route = template
	}
}

// In the form of http.Header, so that it need not be made for each request.
var (
	correlationHeader = http.CanonicalHeaderKey(correlation.Header)
	traceHeader       = http.CanonicalHeaderKey(correlation.TraceHeader)
)

// Observe is the outermost handler: ids of the request, one log line, figures, and panics turned
// into the envelope.
func Observe(next http.Handler, log *slog.Logger, registry prometheus.Registerer) http.Handler {
	log = log.With("logger", "http")
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Duration of requests by method, route template and status.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11),
	}, []string{"method", "route", "status"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Requests that are being answered."})
	registry.MustRegister(seconds, inFlight)

	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		inFlight.Inc()
		defer inFlight.Dec()
		ids := idsOf(req)
		seen := &observation{
			Context: correlation.With(req.Context(), ids), recorder: recorder{ResponseWriter: w}, id: [1]string{ids.Correlation}, route: "none",
		}
		w.Header()[correlationHeader] = seen.id[:]

		torn := serve(&seen.recorder, req.WithContext(seen), next, log)
		if req.Method == http.MethodHead {
			seen.bytes = 0 // were not sent
		}

		took := time.Since(start)
		seconds.WithLabelValues(method(req), seen.route, label(seen.status)).Observe(took.Seconds())
		seen.line(log, req, took)
		if torn {
			panic(http.ErrAbortHandler) // net/http's word for hanging up
		}
	})
}

// idsOf takes or makes the ids of a request.
func idsOf(req *http.Request) correlation.IDs {
	return correlation.Accept(req.Header.Get(correlationHeader), req.Header.Get(traceHeader))
}

// Correlate tells the client the ids of its request, for probes that nobody wants a line or a figure of.
func Correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ids := idsOf(req)
		w.Header().Set(correlationHeader, ids.Correlation)
		next.ServeHTTP(w, req.WithContext(correlation.With(req.Context(), ids)))
	})
}

// serve tells whether the reply is torn: its end would look whole to the client.
func serve(w *recorder, req *http.Request, next http.Handler, log *slog.Logger) (torn bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		cause, _ := p.(error)
		wanted := errors.Is(cause, http.ErrAbortHandler)
		if torn = wanted || w.status != 0; !wanted {
			log.ErrorContext(req.Context(), "panic", "panic", p, "stack", string(debug.Stack()))
		}
		if !torn {
			refusal(fault.From(nil), nil).send(w)
		}
	}()
	next.ServeHTTP(w, req)
	return false
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// method bounds the label: a client may invent methods.
func method(req *http.Request) string {
	switch req.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return req.Method
	}
	return "other"
}

// label is a status as text. Those of nearly all replies need not be made anew.
func label(status int) string {
	switch status {
	case http.StatusOK:
		return "200"
	case http.StatusCreated:
		return "201"
	}
	return strconv.Itoa(status)
}

// recorder remembers what was replied.
type recorder struct {
	http.ResponseWriter
	status, bytes int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += n
	return n, err
}
