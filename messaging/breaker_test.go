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
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == messages-16 }, "as many as are prefetched are at hand")
	require.Zero(t, handled.Load())

	breaker.open.Store(false)
	servertest.Eventually(t, func() bool { return handled.Load() == messages }, "all are handled afterwards")
	require.Zero(t, wrong.Load())
	b.requireSettled(t, stop)
	require.Zero(t, breaker.passed.Load(), "who passed it said so when done")
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
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 4 }, "the others are prefetched")
	stop()
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 20 }, "all are back")
	require.Zero(t, b.depth(t, b.topology.FailedQueue))
	for range 20 {
		require.Empty(t, b.take(t, b.topology.PushQueue).Headers, "no attempt was counted")
	}
}
