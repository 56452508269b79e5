package messaging

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	resubscribeAfter = time.Second
	requeueAfter     = time.Second // a nack at once would come back at once, thousands of times a second
)

// Breaker tells whether what a handler depends on is thought to be away.
type Breaker interface {
	// Wait blocks while it is away, and lets one after the other through while it is being tried.
	// done must be called when the message that was let through is settled; it is nil when stop was
	// closed first.
	Wait(stop <-chan struct{}) (done func())
}

// always lets everything through.
type always struct{}

func (always) Wait(<-chan struct{}) func() { return func() {} }

// subscriber consumes a queue with many messages in the works at once.
//
// watermill-amqp's subscriber handles one message at a time, so that concurrency needs a channel
// for each handler (a fifth of the throughput with handlers of 5 ms), and hands out an empty message
// when the queue or the connection goes away.
type subscriber struct {
	conn     *Connection
	prefetch int           // messages the broker hands over before an ack
	slots    chan struct{} // one is taken by each message in the works, whichever consumer it came by
	breaker  Breaker       // asked before a message is taken. Watermill's would fail what was never tried
	active   *atomic.Int32 // consumers that the broker delivers to
	log      *slog.Logger

	closing   chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup
}

func newSubscriber(conn *Connection, prefetch, concurrency int, breaker Breaker, log *slog.Logger) *subscriber {
	if breaker == nil {
		breaker = always{}
	}
	return &subscriber{
		conn: conn, prefetch: prefetch, slots: make(chan struct{}, concurrency), breaker: breaker, closing: make(chan struct{}),
		active: new(atomic.Int32), log: log.With("logger", "consumer"),
	}
}

// Subscribe implements message.Subscriber. The contexts of its messages outlive ctx: what is in the
// works when the subscription ends is finished.
func (s *subscriber) Subscribe(ctx context.Context, queue string) (<-chan *message.Message, error) {
	ctx = untilClosed(ctx, s.closing)
	out := make(chan *message.Message)
	s.running.Go(func() {
		defer close(out)
		for ctx.Err() == nil {
			if err := s.consume(ctx, queue, out); err != nil && ctx.Err() == nil {
				s.log.Warn("consumer interrupted, subscribing again", "queue", queue, "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(resubscribeAfter):
				}
			}
		}
	})
	return out, nil
}

// Close implements message.Subscriber. It returns when every message handed out has been settled.
func (s *subscriber) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	s.running.Wait()
	return nil
}

// untilClosed gives a context that ends with ctx, or when closing is closed.
func untilClosed(ctx context.Context, closing <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-closing:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// consume is the life of one consumer: until its channel, its queue or ctx ends.
func (s *subscriber) consume(ctx context.Context, queue string, out chan<- *message.Message) error {
	ch, err := s.conn.channel(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if err := ch.Qos(s.prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return s.conn.redeclare(err)
	}
	s.active.Add(1)
	defer s.active.Add(-1)
	s.log.Info("consuming", "queue", queue)
	var mine sync.WaitGroup
	for {
		d, done, err := s.take(ctx, deliveries)
		if errors.Is(err, errStopping) {
			mine.Wait() // an ack needs its channel
			return nil
		}
		if err != nil {
			return s.conn.redeclare(err) // not waiting: the broker takes no ack for what was lost
		}
		msg, _ := marshaler{}.Unmarshal(d)
		select {
		case out <- msg:
			mine.Go(func() {
				s.settle(ctx, msg, d)
				done()
			})
		case <-ctx.Done():
			done() // closing the channel gives it back to the queue
		}
	}
}

// take waits for a slot and for the breaker, and then for a message. done must be called when that is
// settled.
func (s *subscriber) take(ctx context.Context, deliveries <-chan amqp.Delivery) (d amqp.Delivery, done func(), err error) {
	select {
	case <-ctx.Done():
		return d, nil, errStopping
	case s.slots <- struct{}{}:
	}
	passed := s.breaker.Wait(ctx.Done())
	if passed == nil {
		<-s.slots
		return d, nil, errStopping
	}
	done = func() {
		passed()
		<-s.slots
	}
	select {
	case <-ctx.Done():
		done()
		return d, nil, errStopping
	case d, open := <-deliveries:
		if !open {
			done()
			return d, nil, errConsumerLost
		}
		return d, done, nil
	}
}

func (s *subscriber) settle(ctx context.Context, msg *message.Message, d amqp.Delivery) {
	var err error
	select {
	case <-msg.Acked():
		err = d.Ack(false)
	case <-msg.Nacked():
		select {
		case <-ctx.Done():
		case <-time.After(requeueAfter):
		}
		err = d.Nack(false, true)
	}
	if err != nil {
		s.log.Warn("not settled, the broker will deliver it again", "message_id", d.MessageId, "error", err)
	}
}
