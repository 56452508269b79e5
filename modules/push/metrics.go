package push

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/telemetry"
)

// metrics are the figures of the module.
type metrics struct {
	outcomes *prometheus.CounterVec
	answers  *prometheus.HistogramVec
}

func newMetrics() metrics {
	return metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_outcomes_total", Help: "Push messages that have their outcome, by status (sent, skipped, failed, duplicate), provider and reason.",
		}, []string{"status", "provider", "reason"}),
		answers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "push_provider_duration_seconds", Help: "Time the provider took to answer, by what it answered (accepted, dead_token, rejected, busy, refused, away). refused: it takes nobody's messages, its settings are wrong.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 11),
		}, []string{"provider", "answer"}),
	}
}

// reasons that are counted each for itself. A new one is `other` until it stands here: a label must
// have few values, whatever a provider says.
var reasons = map[string]bool{
	"": true, "account_inactive": true, "push_disabled": true, "no_push_token": true, "malformed": true, "wrong_channel": true,
	"unknown_user": true, "unknown_template": true, "template_failed": true, "provider_rejected": true, "token_unregistered": true,
	"attempts_exhausted": true, "reserved_variable": true, "request_id_reused": true, "payload_too_large": true,
}

func (m metrics) outcome(is status, provider, reason string) {
	if !reasons[reason] {
		reason = "other"
	}
	m.outcomes.WithLabelValues(string(is), provider, reason).Inc()
}

func (m metrics) answer(provider string, took time.Duration, err error) {
	m.answers.WithLabelValues(provider, answerOf(err)).Observe(took.Seconds())
}

func answerOf(err error) string {
	if err == nil {
		return "accepted"
	}
	if _, ok := errors.AsType[*DeadToken](err); ok {
		return "dead_token"
	}
	if _, ok := errors.AsType[*Rejected](err); ok {
		return "rejected"
	}
	away, ok := errors.AsType[*Away](err)
	switch {
	case ok && away.Settings:
		return "refused"
	case ok && away.Busy:
		return "busy"
	}
	return "away"
}

// observed measures and traces what the provider itself is asked; inside the breaker, so that what was
// not tried is not counted.
type observed struct {
	Provider
	metrics metrics
	span    string
}

func observe(p Provider, m metrics) observed { return observed{p, m, "push by " + p.Name()} }

// Send implements Provider.
func (o observed) Send(ctx context.Context, n Notification) (string, error) {
	start := time.Now()
	ctx, span := telemetry.Child(ctx, telemetry.Client, o.span)
	id, err := o.Provider.Send(ctx, n)
	span.End(err != nil)
	o.metrics.answer(o.Name(), time.Since(start), err)
	return id, err
}

// Collectors give the metrics of the module.
func (m *Module) Collectors() []prometheus.Collector {
	all := []prometheus.Collector{m.metrics.outcomes, m.metrics.answers}
	for _, p := range m.providers {
		all = append(all, p.breaker.collectors()...)
	}
	return append(all, m.templates.collectors()...)
}

func (b *breaker) collectors() (all []prometheus.Collector) {
	for _, state := range states {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "push_breaker_state", Help: "1 for the state that the breaker of a provider or the template service is in (closed, half-open, open, paused), 0 for the others.",
			ConstLabels: prometheus.Labels{"provider": b.name, "state": state},
		}, func() float64 {
			if b.state() == state {
				return 1
			}
			return 0
		}))
	}
	return all
}
