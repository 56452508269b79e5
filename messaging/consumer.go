package messaging

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/telemetry"
)

// handleWithin bounds the handling of one message, the provider's answer included.
const handleWithin = 30 * time.Second

// settleWithin bounds the acks and commits that are left when the last handler has ended.
const settleWithin = time.Second

// Consumer takes messages from a queue. Handle decides; Failed is told, after the message is safe in
// the failed queue, what became of one that never can be handled.
type Consumer struct {
	Queue       string      // of the topology's, which has queues for its retries
	Connection  *Connection // for consuming
	Publisher   *Publisher  // for retries and dead letters; over another connection
	Topology    Topology
	Prefetch    int
	Concurrency int // messages in the works at once
	Handle      func(ctx context.Context, d Delivery) error
	Failed      func(ctx context.Context, d Delivery, why *Permanent) error // nil: nobody is told
	Breaker     Breaker                                                     // of what Handle depends on: while it is open, no message is taken; nil for none
	Tracer      *telemetry.Tracer                                           // nil: none
	Active      *atomic.Int32                                               // counts the consumers that the broker delivers to; nil: nobody asks
	Log         *slog.Logger
	Registry    prometheus.Registerer
}

// Run consumes until ctx ends, then finishes what is in the works, for grace at the most.
func (c Consumer) Run(ctx context.Context, grace time.Duration) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: grace}, newQuiet(c.Log))
	if err != nil {
		return err
	}
	// Outer to inner. Poison outside retry, since attempts can be used up. Recoverer inside both: a
	// panic is an attempt, not a message that comes back for ever.
	router.AddMiddleware(
		roomy,
		correlate,
		measure(c.Registry, c.Queue, c.Log),
		traced(c.Tracer, c.Queue),
		poison{c.Publisher, c.Topology, c.Queue, c.Failed, c.Log.With("logger", "consumer"), ctx.Done()}.middleware,
		newRetry(c.Publisher, c.Topology, c.Queue, c.Registry).middleware,
		middleware.Recoverer,
	)
	subscriber := newSubscriber(c.Connection, c.Prefetch, c.Concurrency, c.Breaker, c.Log)
	if c.Active != nil {
		subscriber.active = c.Active
	}
	router.AddConsumerHandler(c.Queue, c.Queue, subscriber, func(msg *message.Message) error {
		// Watermill's Timeout would leave its cancelled context on the message, for the next try too.
		handling, cancel := context.WithTimeout(msg.Context(), handleWithin)
		defer cancel()
		d := deliveryFrom(msg)
		d.Stopping = ctx.Done()
		return c.Handle(handling, d)
	})
	return runRouter(ctx, router, subscriber)
}

// runRouter runs router until ctx ends and then waits for what is in the works. The router itself
// waits for its handlers only; the acks and commits of their messages come after.
func runRouter(ctx context.Context, router *message.Router, subscribers ...message.Subscriber) error {
	stop := context.AfterFunc(ctx, func() { _ = router.Close() })
	defer stop()
	err := router.Run(context.WithoutCancel(ctx))
	settled := make(chan error, 1)
	go func() {
		var errs []error
		for _, subscriber := range subscribers {
			errs = append(errs, subscriber.Close())
		}
		settled <- errors.Join(errs...)
	}()
	select {
	case closeErr := <-settled:
		return errors.Join(err, closeErr)
	case <-time.After(settleWithin): // what is not settled goes back to where it came from
		return err
	}
}

// quiet is Watermill's logger without what it has to say of its own workings, many lines for each message:
// its own adapter puts them together before it finds that nobody wants them. Faults are still shown.
type quiet struct{ watermill.LoggerAdapter }

func newQuiet(log *slog.Logger) quiet { return quiet{watermill.NewSlogLogger(log)} }

// Error implements watermill.LoggerAdapter. That a message goes back since the consumer stops is no fault.
func (q quiet) Error(msg string, err error, fields watermill.LogFields) {
	if !errors.Is(err, ErrStopping) {
		q.LoggerAdapter.Error(msg, err, fields)
	}
}

// Info implements watermill.LoggerAdapter.
func (quiet) Info(string, watermill.LogFields) {}

// Debug implements watermill.LoggerAdapter.
func (quiet) Debug(string, watermill.LogFields) {}

// Trace implements watermill.LoggerAdapter.
func (quiet) Trace(string, watermill.LogFields) {}

// With implements watermill.LoggerAdapter.
func (q quiet) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return quiet{q.LoggerAdapter.With(fields)}
}
