package messaging

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/fault"
)

// retry has a message that failed for now wait outside the queue: it is published to a queue whose
// time to live gives it back, then acked. Watermill's Retry would sleep in the handler's slot.
type retry struct {
	publisher *Publisher
	topology  Topology
	queue     string // that gives the messages and gets them back
	parked    *prometheus.CounterVec
}

func newRetry(publisher *Publisher, topology Topology, queue string, registry prometheus.Registerer) retry {
	parked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "queue_retries_total", Help: "Messages that were sent to wait outside their queue, by the queue and the step of the wait.",
		ConstLabels: prometheus.Labels{"queue": queue},
	}, []string{"step"})
	registry.MustRegister(parked)
	return retry{publisher, topology, queue, parked}
}

func (r retry) middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if rest := time.Until(notBefore(msg)); rest > 0 {
			noteFate(msg, "retried", errTooEarly.Error())
			return nil, r.park(msg, attemptsBefore(msg), r.stepFor(rest), notBefore(msg))
		}
		produced, err := next(msg)
		if err == nil {
			return produced, nil
		}
		if _, ok := permanent(err); ok || errors.Is(err, ErrStopping) {
			return nil, err
		}
		attempts, wait, until := r.plan(msg, err)
		if attempts > len(r.topology.RetrySteps) {
			return nil, &Permanent{Reason: "attempts_exhausted", Detail: fmt.Sprintf("%d attempts, the last: %v", attempts, err), Cause: err}
		}
		noteFate(msg, "retried", err.Error())
		return nil, r.park(msg, attempts, wait, until)
	}
}

var errTooEarly = errors.New("the other side asked for a longer wait")

// park publishes msg to the queue of step.
func (r retry) park(msg *message.Message, attempts int, step time.Duration, until time.Time) error {
	publishing := copyOf(msg)
	publishing.Headers[headerAttempts] = int64(attempts)
	delete(publishing.Headers, headerNotBefore)
	forgetDeaths(publishing.Headers)
	if movedBack(msg) { // whoever reserves it next has to know
		publishing.Headers[headerMovedBack] = true
	}
	if !until.IsZero() {
		publishing.Headers[headerNotBefore] = until.UnixMilli()
	}
	var index int
	index, publishing.Priority = retryClass(publishing.Priority, rand.N(spread)) //nolint:gosec // nobody gains by foreseeing it
	err := r.publisher.publish(msg.Context(), outgoing{
		key: retryQueue(r.queue, waits(step)[index]), mandatory: true, Publishing: publishing,
	})
	if err == nil {
		r.parked.WithLabelValues(shortDuration(step)).Inc()
	}
	return err
}

// stepFor is the longest step that is not too long, or the shortest there is. What is left to wait is
// waited in further steps.
func (r retry) stepFor(wait time.Duration) time.Duration {
	chosen := r.topology.RetrySteps[0]
	for _, step := range r.topology.RetrySteps {
		if step <= wait {
			chosen = step
		}
	}
	return chosen
}

// plan counts the attempt and chooses the step. A server of ours that is away is no attempt: its
// outage must not use up a message's chances. until is set when the other side asked for a longer wait than the step.
func (r retry) plan(msg *message.Message, err error) (attempts int, step time.Duration, until time.Time) {
	steps := r.topology.RetrySteps
	attempts = attemptsBefore(msg)
	var transient Transient
	if t, ok := errors.AsType[*Transient](err); ok {
		transient = *t
	}
	step = steps[0]
	if !transient.Blameless && fault.From(err).Kind != fault.Unavailable {
		attempts++
		step = steps[min(attempts, len(steps))-1]
	}
	if transient.RetryAfter > step {
		step, until = r.stepFor(transient.RetryAfter), time.Now().Add(transient.RetryAfter)
	}
	return attempts, step, until
}
