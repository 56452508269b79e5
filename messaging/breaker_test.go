package messaging

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func TestNoMessageIsTakenWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	const messages = 40
	b := newBroker(t)
	breaker := new(fakeBreaker)
	breaker.open.Store(true)
	var handled, wrong atomic.Int64
	stop := b.consume(t, Consumer{Breaker: breaker, Handle: func(_ context.Context, d Delivery) error {
		if breaker.open.Load() || d.Attempt != 1 {
			wrong.Add(1)
		}
		handled.Add(1)
		return nil
	}})
	for i := range messages {
		b.put(t, amqp.Publishing{MessageId: strconv.Itoa(i)})
	}
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == messages }, "none is prefetched")
	breaker.open.Store(false)
	servertest.Eventually(t, func() bool { return handled.Load() == messages }, "all are handled afterwards")
	require.Zero(t, wrong.Load())
	b.requireSettled(t, stop)
	require.Zero(t, breaker.passed.Load(), "who passed it said so when done")
}

// TestWhatWasPrefetchedGoesBackWhenTheBreakerOpens to whoever else consumes the queue.
func TestWhatWasPrefetchedGoesBackWhenTheBreakerOpens(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	breaker := new(fakeBreaker)
	begun, until := make(chan struct{}), make(chan struct{})
	stop := b.consume(t, Consumer{Prefetch: 16, Concurrency: 1, Breaker: breaker, Handle: func(context.Context, Delivery) error {
		begun <- struct{}{}
		<-until
		return nil
	}})
	for range 10 {
		b.put(t, amqp.Publishing{})
	}
	<-begun
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 0 }, "nine are prefetched")
	breaker.open.Store(true)
	close(until)
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 9 }, "they are back")
	require.Zero(t, b.consumers(t, b.topology.PushQueue))
	breaker.open.Store(false)
	for range 9 {
		<-begun
	}
	b.requireSettled(t, stop)
}

func TestConsumerStopsWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	breaker := new(fakeBreaker)
	breaker.open.Store(true)
	stop := b.consume(t, Consumer{Breaker: breaker, Handle: refuse})
	for range 20 {
		b.put(t, amqp.Publishing{})
	}
	stop()
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 20 }, "none is taken")
	require.Zero(t, b.depth(t, b.topology.FailedQueue))
}
