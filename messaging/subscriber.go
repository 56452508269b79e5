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
	lookEvery        = 100 * time.Millisecond // at a breaker that lets nothing through
	requeueAfter     = time.Second            // a nack at once would come back at once, thousands of times a second
)

// Breaker tells whether what a handler depends on is thought to be away.
type Breaker interface {
	// Pass lets messages through, one after the other while it is being tried, and none while it is
	// away. done must be called when the message that was let through is settled.
	Pass() (done func(), through bool)
}

// always lets everything through.
type always struct{}

func (always) Pass() (func(), bool) { return func() {}, true }

// errHeld is the end of a consumer whose breaker lets nothing through.
var errHeld = errors.New("messaging: the breaker lets nothing through")

// subscriber consumes a queue with many messages in the works at once.
//
// watermill-amqp's subscriber handles one message at a time, so that concurrency needs a channel
// for each handler (a fifth of the throughput with handlers of 5 ms), and hands out an empty message
// when the queue or the connection goes away.
type subscriber struct {
	conn     *Connection
	prefetch int           // messages the broker hands over before an ack
	slots    chan struct{} // one is taken by each message that is handled, whichever consumer it came by
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

// consume is the life of one consumer: until its channel, its queue or ctx ends, or its breaker lets
// nothing through. Then what was prefetched goes back: others may have it, and the broker does not wait
// for its ack.
func (s *subscriber) consume(ctx context.Context, queue string, out chan<- *message.Message) error {
	passed := s.awaitBreaker(ctx)
	if passed == nil {
		return nil
	}
	defer func() {
		if passed != nil { // and took no message
			passed()
		}
	}()
	ch, err := s.conn.channel(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if err := ch.Qos(s.prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return s.conn.redeclare(err)
	}
	s.active.Add(1)
	defer s.active.Add(-1)
	s.log.Info("consuming", "queue", queue)
	acks := newAcks(ch, s.conn.gather, s.prefetch, s.log)
	defer acks.send()
	var mine sync.WaitGroup
	for {
		d, done, err := s.take(ctx, deliveries, &passed)
		if errors.Is(err, errHeld) {
			s.log.Info("taking no messages for now", "queue", queue)
			err = ErrStopping
		}
		if errors.Is(err, ErrStopping) {
			s.handBack(ch, deliveries)
			mine.Wait() // an ack needs its channel
			return nil
		}
		if err != nil {
			return s.conn.redeclare(err) // not waiting: the broker takes no ack for what was lost
		}
		acks.taken(d.DeliveryTag)
		msg := messageOf(d)
		select {
		case out <- msg:
			tag := d.DeliveryTag // all of d would be kept as long as the message is handled
			mine.Go(func() {
				s.settle(ctx, msg, tag, acks)
				done()
			})
		case <-ctx.Done():
			acks.giveBack(d.DeliveryTag)
			done()
		}
	}
}

// consumerTag names the only consumer of its channel.
const consumerTag = "user-service"

// awaitBreaker blocks while the breaker lets nothing through; nil when ctx ends first.
func (s *subscriber) awaitBreaker(ctx context.Context) (passed func()) {
	for {
		if passed, through := s.breaker.Pass(); through {
			return passed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

// handBack has the broker deliver no more, and gives back what it has delivered already.
func (s *subscriber) handBack(ch *amqp.Channel, deliveries <-chan amqp.Delivery) {
	if err := ch.Cancel(consumerTag, false); err != nil {
		return // the channel is gone, and with it all that it had
	}
	for d := range deliveries {
		_ = d.Nack(false, true)
	}
}

// take waits for a slot, and then for a message that the breaker lets through; passed is what it said
// before the first one. done must be called when the message is settled.
func (s *subscriber) take(ctx context.Context, deliveries <-chan amqp.Delivery, passed *func()) (d amqp.Delivery, done func(), err error) {
	select {
	case <-ctx.Done():
		return d, nil, ErrStopping
	case s.slots <- struct{}{}:
	}
	if *passed == nil {
		var through bool
		if *passed, through = s.breaker.Pass(); !through {
			<-s.slots
			return d, nil, errHeld
		}
	}
	pass := *passed
	*passed = nil
	done = func() {
		pass()
		<-s.slots
	}
	select {
	case <-ctx.Done():
		done()
		return d, nil, ErrStopping
	case d, open := <-deliveries:
		if !open {
			done()
			return d, nil, errConsumerLost
		}
		return d, done, nil
	}
}

func (s *subscriber) settle(ctx context.Context, msg *message.Message, tag uint64, acks *acks) {
	select {
	case <-msg.Acked():
		acks.ack(tag)
	case <-msg.Nacked():
		select {
		case <-ctx.Done():
		case <-time.After(requeueAfter):
		}
		acks.giveBack(tag)
	}
}
