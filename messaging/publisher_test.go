package messaging

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func (b *broker) toPush(id string) outgoing {
	return outgoing{exchange: b.topology.Exchange, key: pushKey, mandatory: true, Publishing: amqp.Publishing{MessageId: id}}
}

func TestUnroutableMessageIsAnErrorEveryTime(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	p := NewPublisher(b.connect(t))
	var wg sync.WaitGroup
	var missed atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			m := outgoing{exchange: b.topology.Exchange, key: "nobody", mandatory: true}
			if i%2 == 0 { // alike in all respects, and not
				m.MessageId = strconv.Itoa(i)
			}
			if !errors.Is(p.publish(t.Context(), m), errUnroutable) {
				missed.Add(1)
			}
		})
		wg.Go(func() { require.NoError(t, p.publish(t.Context(), b.toPush(strconv.Itoa(i)))) })
	}
	wg.Wait()
	require.Zero(t, missed.Load())
	require.Equal(t, 200, b.depth(t, b.topology.PushQueue))
}

func TestEventNobodyHasBoundIsFine(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	require.NoError(t, NewPublisher(b.connect(t)).publish(t.Context(), outgoing{exchange: b.topology.Events, key: "user.registered"}))
}

func TestReturnIsNotHeldAgainstALaterMessage(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	p := NewPublisher(b.connect(t))
	one, two := b.toPush("1"), b.toPush("2")
	one.key, two.key = "late", "late"
	require.ErrorIs(t, p.publish(t.Context(), one, two), errUnroutable)

	require.NoError(t, b.ch.QueueBind(b.topology.PushQueue, "late", b.topology.Exchange, false, nil))
	require.NoError(t, p.publish(t.Context(), two))
	require.NoError(t, p.publish(t.Context(), one))
	require.Equal(t, 2, b.depth(t, b.topology.PushQueue))
}

func TestMessageOfACancelledCallerStillGoesOut(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, NewPublisher(b.connect(t)).publish(ctx, b.toPush("1")))
	d := b.take(t, b.topology.PushQueue)
	require.Equal(t, "1", d.MessageId)
	require.Equal(t, amqp.Persistent, d.DeliveryMode)
}

func TestQueueDeletedUnderThePublisherIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	p := NewPublisher(b.connect(t))
	require.NoError(t, p.publish(t.Context(), b.toPush("1")))
	_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
	require.NoError(t, err)
	require.ErrorIs(t, p.publish(t.Context(), b.toPush("2")), errUnroutable)
	require.NoError(t, p.publish(t.Context(), b.toPush("2")))
	require.Equal(t, "2", b.take(t, b.topology.PushQueue).MessageId)
}

func TestPublishersRecoverFromALostConnection(t *testing.T) {
	t.Parallel()
	const publishers, each = 16, 30
	b := newBroker(t)
	proxy, url := servertest.NewProxy(t, b.url)
	p := NewPublisher(b.connectTo(t, url))
	var wg sync.WaitGroup
	var sent atomic.Int64
	for publisher := range publishers {
		wg.Go(func() {
			for i := range each {
				m := b.toPush(strconv.Itoa(publisher) + "/" + strconv.Itoa(i))
				for p.publish(t.Context(), m) != nil && t.Context().Err() == nil {
				}
				sent.Add(1)
			}
		})
	}
	for quarter := range int64(3) {
		servertest.Eventually(t, func() bool { return sent.Load() >= (quarter+1)*publishers*each/4 }, "quarter %d", quarter)
		proxy.Cut()
		proxy.Restore()
	}
	wg.Wait()

	seen := map[string]bool{}
	deliveries, err := b.ch.Consume(b.topology.PushQueue, "", true, false, false, false, nil)
	require.NoError(t, err)
	for len(seen) < publishers*each {
		seen[receive(t, deliveries).MessageId] = true
	}
}

func TestBrokerThatIsAwayIsAnErrorInTime(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	proxy, url := servertest.NewProxy(t, b.url)
	conn := b.connectTo(t, url)
	p := NewPublisher(conn)
	p.within = 200 * time.Millisecond
	proxy.Cut()
	servertest.Eventually(t, func() bool { return conn.Up(t.Context()) != nil }, "the loss is noticed")
	requireAllFail(t, p, b.toPush("1"))
}

// requireAllFail publishes m ten times at once: no publish may wait for the patience of another.
func requireAllFail(t testing.TB, p *Publisher, m outgoing) {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 10 {
		wg.Go(func() {
			if p.publish(t.Context(), m) == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, passed.Load())
	require.Less(t, time.Since(start), p.within+3*time.Second)
}

func TestSilentBrokerIsAnErrorInTime(t *testing.T) {
	t.Parallel()
	const silence = `{"name":"silence","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`
	const trickle = `{"name":"trickle","type":"bandwidth","stream":"upstream","attributes":{"rate":1}}`
	for name, test := range map[string]struct {
		toxic  string
		opened bool // the channel, before the silence
		body   int
	}{
		"while a confirm is awaited": {silence, true, 10},
		"while a channel is opened":  {silence, false, 10},
		"while a write is stuck":     {trickle, true, 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			proxy, url := servertest.NewProxy(t, b.url)
			p := NewPublisher(b.connectTo(t, url))
			if test.opened {
				require.NoError(t, p.publish(t.Context(), b.toPush("1")))
			}
			p.within = 500 * time.Millisecond
			proxy.Disturb(test.toxic)
			m := b.toPush("2")
			m.Body = make([]byte, test.body)
			requireAllFail(t, p, m)
			requireAllFail(t, p, m) // the second finds no open channel

			proxy.Calm()
			m.Body = nil
			servertest.Eventually(t, func() bool { return p.publish(t.Context(), m) == nil }, "the publisher recovers")
		})
	}
}

func TestPublishWithoutTimeLeftDoesNotHangUp(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	conn := b.connect(t)
	p, late := NewPublisher(conn), NewPublisher(conn)
	late.within = time.Nanosecond // as when the others took all of its time
	before := conn.current
	for range 20 {
		require.ErrorIs(t, late.publish(t.Context(), b.toPush("late")), context.DeadlineExceeded)
		require.NoError(t, p.publish(t.Context(), b.toPush("1")))
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	require.Same(t, before, conn.current)
}
