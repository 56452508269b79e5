package messaging

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/correlation"
	"user-service/platform/stack"
)

// roomy is for the goroutine that Watermill starts for each message.
func roomy(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		stack.Grow()
		return next(msg)
	}
}

// correlate puts the ids a message came with into its context. watermill's CorrelationID reads only
// a header of its own.
func correlate(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ids := correlation.Accept(idFrom(msg.Metadata), msg.Metadata[metaTraceparent])
		msg.SetContext(correlation.With(msg.Context(), ids))
		return next(msg)
	}
}

// idFrom is the correlation id that came as the AMQP property or, in whatever case a producer writes
// it, as a header.
func idFrom(headers message.Metadata) string {
	if id := headers[metaCorrelation]; id != "" {
		return id
	}
	for name, value := range headers {
		if strings.EqualFold(name, correlation.Header) {
			return value
		}
	}
	return ""
}

// fate is what became of a message, as those who decide it note it down.
type fate struct {
	name  string // handled, retried, failed, returned
	cause string // why it was not handled
}

type fateKey struct{}

// noteFate is given no cause that quotes the message: what strangers wrote is not ours to log.
func noteFate(msg *message.Message, name, cause string) {
	if f, ok := msg.Context().Value(fateKey{}).(*fate); ok {
		*f = fate{name, cause}
	}
}

// measure counts and times messages by their queue and fate, and writes one line for each.
func measure(registry prometheus.Registerer, queue string, log *slog.Logger) message.HandlerMiddleware {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "queue_message_duration_seconds", Help: "Time a message of a queue was in the works, by its fate (handled, retried, failed, returned).",
		ConstLabels: prometheus.Labels{"queue": queue}, // so that one registry takes many consumers
		Buckets:     prometheus.ExponentialBuckets(0.001, 2.5, 12),
	}, []string{"fate"})
	ages := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:        "queue_message_age_seconds",
		Help:        "Age of a message when it is taken for the first time, by the producer's clock in whole seconds; only of messages with an AMQP timestamp.",
		ConstLabels: prometheus.Labels{"queue": queue}, Buckets: prometheus.ExponentialBuckets(1, 4, 9),
	})
	registry.MustRegister(seconds, ages)
	log = log.With("logger", "consumer", "queue", queue)
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			start := time.Now()
			if age, known := ageOf(msg, start); known {
				ages.Observe(age.Seconds())
			}
			became := &fate{name: "handled"}
			msg.SetContext(context.WithValue(msg.Context(), fateKey{}, became))
			produced, err := next(msg)
			if err != nil {
				noteFate(msg, "returned", err.Error())
			}
			took := time.Since(start)
			seconds.WithLabelValues(became.name).Observe(took.Seconds())
			attrs := []slog.Attr{
				slog.String("fate", became.name), slog.Int("attempt", attemptsBefore(msg)+1),
				slog.Float64("duration_ms", float64(took.Microseconds())/1000),
			}
			level := slog.LevelInfo
			if became.cause != "" {
				level, attrs = slog.LevelWarn, append(attrs, slog.String("cause", became.cause))
			}
			log.LogAttrs(msg.Context(), level, "message", attrs...)
			return produced, err
		}
	}
}

// maxAge is what a producer's clock is believed.
const maxAge = 30 * 24 * time.Hour

// ageOf is how long a message waited to be taken; not known where its waits were asked for by us, or
// the producer sent no time, or none that can be.
func ageOf(msg *message.Message, now time.Time) (age time.Duration, known bool) {
	sent := deliveryOf(msg).Timestamp
	if sent.IsZero() || msg.Metadata[headerAttempts] != "" {
		return 0, false
	}
	age = now.Sub(sent)
	return max(age, 0), age > -time.Minute && age < maxAge
}
