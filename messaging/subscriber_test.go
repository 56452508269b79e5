package messaging

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// consumeInto handles each message by giving its id to ids, when there is one.
func (b *broker) consumeInto(t testing.TB, ids chan<- string) (stop func()) {
	t.Helper()
	return b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		if ids != nil {
			ids <- d.MessageID
		}
		return nil
	}})
}

func TestDeletedQueueComesBackWithoutPhantoms(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	ids := make(chan string, 10)
	b.consumeInto(t, ids)
	b.put(t, amqp.Publishing{MessageId: "before"})
	require.Equal(t, "before", <-ids)

	_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
	require.NoError(t, err)
	b.waitForConsumer(t)
	b.put(t, amqp.Publishing{MessageId: "after"})
	require.Equal(t, "after", <-ids, "a phantom has no id")
	require.Empty(t, ids)
	require.Zero(t, b.depth(t, b.topology.FailedQueue))
}

// waitForConsumer waits until push.queue is there and consumed. Each time it asks over a channel of
// its own: to ask for a queue that is away costs it.
func (b *broker) waitForConsumer(t testing.TB) {
	t.Helper()
	conn := dial(t, b.url)
	servertest.Eventually(t, func() bool {
		ch := open(t, conn)
		defer func() { _ = ch.Close() }()
		q, err := ch.QueueDeclarePassive(b.topology.PushQueue, true, false, false, false, nil)
		return err == nil && q.Consumers == 1
	}, "push.queue is consumed")
}

func TestLostConnectionComesBackWithoutPhantoms(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	proxy, url := servertest.NewProxy(t, b.url)
	ids := make(chan string, 10)
	stop := b.consume(t, Consumer{Connection: b.connectTo(t, url), Handle: func(_ context.Context, d Delivery) error {
		ids <- d.MessageID
		return nil
	}})
	b.put(t, amqp.Publishing{MessageId: "before"})
	require.Equal(t, "before", <-ids)

	proxy.Cut()
	b.put(t, amqp.Publishing{MessageId: "meanwhile"})
	proxy.Restore()
	seen := map[string]bool{}
	for !seen["meanwhile"] {
		seen[<-ids] = true
	}
	b.requireSettled(t, stop)
	for range len(ids) {
		seen[<-ids] = true
	}
	delete(seen, "before") // comes again when its ack was lost
	require.Equal(t, map[string]bool{"meanwhile": true}, seen, "a phantom has no id")
}

func TestSlowHandlerDoesNotHoldUpTheNextConnection(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	proxy, url := servertest.NewProxy(t, b.url)
	ids, slow := make(chan string, 10), make(chan struct{})
	b.consume(t, Consumer{Connection: b.connectTo(t, url), Handle: func(_ context.Context, d Delivery) error {
		ids <- d.MessageID
		if d.MessageID == "slow" {
			<-slow
		}
		return nil
	}})
	b.put(t, amqp.Publishing{MessageId: "slow"})
	require.Equal(t, "slow", <-ids)
	proxy.Cut()
	proxy.Restore()
	require.Equal(t, "slow", <-ids, "delivered again while the first copy is still in the works")
	b.put(t, amqp.Publishing{MessageId: "next"})
	require.Equal(t, "next", <-ids)
	close(slow)
}

func TestMessagesAreHandledAtOnceButNotTooMany(t *testing.T) {
	t.Parallel()
	const concurrency, messages = 6, 40
	b := newBroker(t)
	var inWorks, most, handled atomic.Int64
	full := make(chan struct{})
	for i := range messages {
		b.put(t, amqp.Publishing{MessageId: strconv.Itoa(i)})
	}
	b.consume(t, Consumer{Prefetch: 20, Concurrency: concurrency, Handle: func(ctx context.Context, _ Delivery) error {
		n := inWorks.Add(1)
		defer inWorks.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if n == concurrency && handled.Load() == 0 {
			close(full)
		}
		select { // nobody goes on before all of the first are here
		case <-full:
		case <-ctx.Done():
		}
		handled.Add(1)
		return nil
	}})
	servertest.Eventually(t, func() bool { return handled.Load() == messages }, "all handled")
	require.Equal(t, int64(concurrency), most.Load())
}

func TestMessageThatTakesLongHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const messages = 40
	for i := range messages {
		b.put(t, amqp.Publishing{MessageId: strconv.Itoa(i)})
	}
	var handled atomic.Int64
	release := make(chan struct{})
	stop := b.consume(t, Consumer{Prefetch: 3, Concurrency: 3, Handle: func(_ context.Context, d Delivery) error {
		if d.MessageID == "0" {
			<-release
		}
		handled.Add(1)
		return nil
	}})
	servertest.Eventually(t, func() bool { return handled.Load() == messages-1 }, "all but the first are handled")
	close(release)
	stop()
	require.Equal(t, int64(messages), handled.Load())
	require.Zero(t, b.depth(t, b.topology.PushQueue), "all were acked before the channel was closed")
}

func TestReturnedMessageIsNotAHotLoop(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var tries atomic.Int64
	second := make(chan struct{})
	conn := b.connect(t)
	dead := NewPublisher(NewConnection("amqp://127.0.0.1:1", "never", b.topology, silent))
	dead.within = time.Millisecond // no retry gets through: all that is left is to give the message back
	b.consume(t, Consumer{Connection: conn, Publisher: dead, Handle: func(context.Context, Delivery) error {
		if tries.Add(1) == 2 {
			close(second)
		}
		return &Transient{Cause: context.DeadlineExceeded}
	}})
	start := time.Now()
	b.put(t, amqp.Publishing{})
	<-second
	require.GreaterOrEqual(t, time.Since(start), requeueAfter)
}

func TestStoppedConsumerFinishesWhatItHasAndReturnsTheRest(t *testing.T) {
	t.Parallel()
	const messages = 30
	b := newBroker(t)
	started, goOn := make(chan struct{}, messages), make(chan struct{})
	var handled atomic.Int64
	stop := b.consume(t, Consumer{Prefetch: 20, Concurrency: 3, Handle: func(ctx context.Context, _ Delivery) error {
		started <- struct{}{}
		<-goOn
		if ctx.Err() == nil {
			handled.Add(1)
		}
		return ctx.Err()
	}})
	for i := range messages {
		b.put(t, amqp.Publishing{MessageId: strconv.Itoa(i)})
	}
	for range 3 {
		<-started
	}
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == messages-3 }, "what was not begun is back at once")
	select {
	case <-stopped:
		require.Fail(t, "stopped with messages in the works")
	default:
	}
	close(goOn)
	<-stopped

	done := int(handled.Load())
	require.GreaterOrEqual(t, done, 3)
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == messages-done }, "the rest is back")
	require.Zero(t, b.depth(t, b.topology.FailedQueue))
	for range messages - done {
		require.Empty(t, b.take(t, b.topology.PushQueue).Headers, "no attempt was counted")
	}
}

func TestPriorityIsRespectedOneByOne(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for i := range 10 {
		b.put(t, amqp.Publishing{Priority: uint8(i), MessageId: strconv.Itoa(i)})
	}
	servertest.Eventually(t, func() bool { return b.depth(t, b.topology.PushQueue) == 10 }, "all queued")
	ids := make(chan string, 10)
	b.consume(t, Consumer{Prefetch: 1, Concurrency: 1, Handle: func(_ context.Context, d Delivery) error {
		require.Equal(t, d.MessageID, strconv.Itoa(d.Priority))
		ids <- d.MessageID
		return nil
	}})
	for i := range 10 {
		require.Equal(t, strconv.Itoa(9-i), <-ids)
	}
}
