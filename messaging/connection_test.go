package messaging

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func TestConnectionComesUpWhenTheBrokerDoes(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
	require.NoError(t, err)
	proxy, url := servertest.NewProxy(t, b.url)
	proxy.Cut()
	c := NewConnection(url, t.Name(), b.topology, silent)
	background(t, c.Run)
	require.ErrorIs(t, c.Up(t.Context()), errNotConnected)
	proxy.Restore()
	servertest.Eventually(t, func() bool { return c.Up(t.Context()) == nil }, "connected")
	require.Zero(t, b.depth(t, b.topology.PushQueue), "what the broker had lost is there again")
	proxy.Cut()
	servertest.Eventually(t, func() bool { return c.Up(t.Context()) != nil }, "the loss is noticed")
}

func TestConsumerAndRelayStopWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	b := &broker{topology: Topology{PushQueue: "push.queue"}}
	never := NewConnection("amqp://127.0.0.1:1", t.Name(), b.topology, silent)
	s.publish(t, changed(newUser()))
	relay := s.relay(t, b, NewPublisher(never))
	consumer := b.consume(t, Consumer{Connection: never, Publisher: NewPublisher(never), Handle: func(context.Context, Delivery) error { return nil }})
	relay()
	consumer()
	require.Len(t, s.rows(t), 1)
}
