package messaging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confirmWithin is how long the broker may take to confirm a publish, its coming back included.
const confirmWithin = 10 * time.Second

// outgoing is one message on its way to the broker.
type outgoing struct {
	exchange, key string
	mandatory     bool // it must reach a queue: to reach none is an error, not silence
	taken         bool // set by publish: the broker has it
	amqp.Publishing
}

// Publisher publishes and waits until the broker has taken each message (persistent and confirmed).
// It is safe for concurrent use.
//
// watermill-amqp's publisher opens a channel per publish, or deadlocks with a pool of them when the
// connection is lost; it waits for confirms without limit, one by one, and never looks at returns.
type Publisher struct {
	conn   *Connection
	within time.Duration // what the broker may take to confirm

	mu   sync.Mutex
	open *confirmChannel
}

// NewPublisher publishes over conn.
func NewPublisher(conn *Connection) *Publisher { return &Publisher{conn: conn, within: confirmWithin} }

var (
	errUnroutable   = errors.New("messaging: no queue takes this message")
	errNotConfirmed = errors.New("messaging: the broker did not confirm")
)

// publish sends all in order and waits for all. After an error those may have been taken, too, of which it
// did not learn.
func (p *Publisher) publish(ctx context.Context, messages ...outgoing) error {
	// amqp091 refuses a cancelled context, and a message that is decided must go out nonetheless.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.within)
	defer cancel()
	ch, confirms, err := p.send(ctx, messages)
	if err != nil {
		noteTaken(ch, messages, confirms)
		return fmt.Errorf("publish: %w", err)
	}
	return p.await(ctx, ch, messages, confirms)
}

// await asks after every message, also when one has failed: a return that nobody asks after would
// be held against a later message.
func (p *Publisher) await(ctx context.Context, ch *confirmChannel, messages []outgoing, confirms []*amqp.DeferredConfirmation) error {
	var failed error
	for i, confirm := range confirms {
		taken, err := confirm.WaitContext(ctx)
		switch {
		case err != nil:
			noteTaken(ch, messages[i:], confirms[i:])
			p.discard(ch) // late confirms would be of no use
			return fmt.Errorf("wait for a confirm: %w", err)
		case messages[i].mandatory && ch.wasReturned(messages[i]):
			failed = fmt.Errorf("%w: exchange %q, key %q", errUnroutable, messages[i].exchange, messages[i].key)
		case !taken:
			failed = errNotConfirmed
		default:
			messages[i].taken = true
		}
	}
	if failed != nil {
		return p.conn.redeclare(failed) // its queue or exchange may have been deleted
	}
	return nil
}

// noteTaken waits for no confirm that is not there yet.
func noteTaken(ch *confirmChannel, messages []outgoing, confirms []*amqp.DeferredConfirmation) {
	for i, confirm := range confirms {
		cameBack := messages[i].mandatory && ch.wasReturned(messages[i])
		messages[i].taken = confirm.Acked() && !cameBack
	}
}

func (p *Publisher) send(ctx context.Context, messages []outgoing) (*confirmChannel, []*amqp.DeferredConfirmation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, nil, err // used up by waiting for the others
	}
	stop := context.AfterFunc(ctx, p.conn.hangUp)
	defer stop()
	if p.open == nil || p.open.IsClosed() {
		ch, err := openConfirmChannel(ctx, p.conn)
		if err != nil {
			return nil, nil, err
		}
		p.open = ch
	}
	gathered := p.conn.gather()
	confirms, err := p.open.publishAll(ctx, messages)
	return p.open, confirms, errors.Join(err, gathered())
}

func (p *Publisher) discard(ch *confirmChannel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == ch {
		p.open = nil
	}
	go func() { _ = ch.Close() }() // may wait for a broker that does not answer
}

// confirmChannel is a channel in confirm mode that remembers which mandatory messages came back.
type confirmChannel struct {
	*amqp.Channel
	mu       sync.Mutex
	returned map[destination]int
}

// destination tells returns apart. Of two messages alike in all three, both come back or neither.
type destination struct{ exchange, key, messageID string }

func openConfirmChannel(ctx context.Context, conn *Connection) (*confirmChannel, error) {
	ch, err := conn.channel(ctx)
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	c := &confirmChannel{Channel: ch, returned: map[destination]int{}}
	// amqp091 hands a return to both listeners, one after the other, before it reads the confirm
	// that follows. The second, unbuffered, holds it up until the first has been written down.
	returns, written := ch.NotifyReturn(make(chan amqp.Return)), ch.NotifyReturn(make(chan amqp.Return))
	go func() {
		for r := range returns {
			c.mu.Lock()
			c.returned[destination{r.Exchange, r.RoutingKey, r.MessageId}]++
			c.mu.Unlock()
			<-written
		}
	}()
	return c, nil
}

func (c *confirmChannel) publishAll(ctx context.Context, messages []outgoing) ([]*amqp.DeferredConfirmation, error) {
	confirms := make([]*amqp.DeferredConfirmation, 0, len(messages))
	for _, m := range messages {
		m.DeliveryMode = amqp.Persistent
		confirm, err := c.PublishWithDeferredConfirmWithContext(ctx, m.exchange, m.key, m.mandatory, false, m.Publishing)
		if err != nil {
			return confirms, err
		}
		confirms = append(confirms, confirm)
	}
	return confirms, nil
}

func (c *confirmChannel) wasReturned(m outgoing) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := destination{m.exchange, m.key, m.MessageId}
	if c.returned[to] == 0 {
		return false
	}
	if c.returned[to]--; c.returned[to] == 0 {
		delete(c.returned, to)
	}
	return true
}
