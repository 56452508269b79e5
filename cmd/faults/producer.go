package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// producer is another service: it publishes push messages, and repeats under the same id what was not
// confirmed. Its connection is its own, past the link.
type producer struct {
	url string

	mu   sync.Mutex
	conn *amqp.Connection

	doneMu sync.Mutex
	done   []string // request ids that were confirmed

	held sync.RWMutex // whoever deletes the queue holds it: what is confirmed then is lost with it
}

const confirmWithin = 5 * time.Second

// publish returns when all are confirmed.
func (p *producer) publish(ctx context.Context, userID string, ids []string) error {
	for _, id := range ids {
		for p.try(ctx, id, pushBody(userID, id, 1)) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			pause(ctx, 300*time.Millisecond)
		}
	}
	return nil
}

// pushBody is a message as producers write it.
func pushBody(userID, id string, priority int) []byte {
	return fmt.Appendf(nil, `{"notification_type":"push","user_id":%q,"template_code":"welcome_notification","request_id":%q,`+
		`"variables":{"name":"Ada","link":"https://example.com"},"priority":%d,"metadata":{}}`, userID, id, priority)
}

// confirmed are the request ids of all that was confirmed.
func (p *producer) confirmed() []string {
	p.doneMu.Lock()
	defer p.doneMu.Unlock()
	return slices.Clone(p.done)
}

var errNotTaken = errors.New("the broker took it not, or put it into no queue")

func (p *producer) try(ctx context.Context, id string, body []byte) error {
	p.held.RLock()
	defer p.held.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	ch, err := p.channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	returned := ch.NotifyReturn(make(chan amqp.Return, 1))
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "notifications.direct", "push", true, false, amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: id, Body: body,
	})
	if err != nil {
		return err
	}
	taken, err := confirm.WaitContext(ctx)
	if err != nil {
		return err
	}
	select {
	case <-returned: // comes before the confirm
		return errNotTaken
	default:
	}
	if !taken {
		return errNotTaken
	}
	p.doneMu.Lock()
	p.done = append(p.done, id) // before producers can be held
	p.doneMu.Unlock()
	return nil
}

// channel is a new one, in confirm mode: a return that comes is then of the one message published there.
func (p *producer) channel() (*amqp.Channel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.conn.IsClosed() {
		conn, err := amqp.DialConfig(p.url, amqp.Config{Dial: amqp.DefaultDial(time.Second), Heartbeat: 2 * time.Second})
		if err != nil {
			return nil, err
		}
		p.conn = conn
	}
	ch, err := p.conn.Channel()
	if err != nil {
		return nil, err
	}
	return ch, ch.Confirm(false)
}

func (p *producer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.CloseDeadline(time.Now().Add(time.Second))
	}
}
