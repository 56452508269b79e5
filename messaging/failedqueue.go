package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// DeadLetter is a message of the failed queue.
type DeadLetter struct {
	Delivery
	Reason, Detail string
	Queue          string    // that it came from
	FailedAt       time.Time // zero: it does not say
	CorrelationID  string
	ContentType    string
	Headers        map[string]any
}

// Verdict is what is to become of a dead letter.
type Verdict int

// What may become of one.
const (
	Keep Verdict = iota
	Requeue
	Drop
)

// FailedQueue is for operators. The service need not run.
type FailedQueue struct {
	Connection *Connection
	Publisher  *Publisher
	Topology   Topology
}

// Walked is what came of a walk.
type Walked struct {
	Done  int   // letters that were requeued or dropped
	Stuck int   // letters that cannot be requeued: the queue they came from is gone
	Why   error // of the first of these
}

// Walk shows judge the dead letters that are there now, the oldest first, until it wants no more, and
// does with each what it says. Who is told to requeue one hands it to the queue that it came from, with
// all its attempts before it; should this process die meanwhile, it may be in both.
//
// What is kept returns to its place when Walk ends: until then nobody else sees it.
func (q FailedQueue) Walk(ctx context.Context, judge func(n, of int, letter DeadLetter) (verdict Verdict, more bool)) (w Walked, err error) {
	ch, err := q.Connection.channel(ctx)
	if err != nil {
		return w, err
	}
	defer q.leave(ch)
	for n, of, more := 1, 1, true; more && n <= of && ctx.Err() == nil; n++ {
		d, there, err := ch.Get(q.Topology.FailedQueue, false)
		if err != nil || !there {
			return w, err
		}
		if n == 1 {
			of += int(d.MessageCount)
		}
		letter := q.letter(d)
		var verdict Verdict
		verdict, more = judge(n, of, letter)
		switch err := q.carryOut(ctx, verdict, d, letter); {
		case errors.Is(err, errUnroutable):
			w.Stuck, w.Why = w.Stuck+1, cmp.Or(w.Why, err)
		case err != nil:
			return w, err
		case verdict != Keep:
			w.Done++
		}
	}
	return w, ctx.Err()
}

// leave gives back what was kept, and waits until the queue was told: who walks next is to find it. Of a
// closed channel the broker would take it back too, but some time after. The answer need not count it
// already, since RabbitMQ's queues answer a question for their size before what they were told earlier. A Get
// has its turn, so Walk learns from its first one how many there are.
func (q FailedQueue) leave(ch *amqp.Channel) {
	if ch.Nack(0, true, true) == nil {
		_, _ = ch.QueueDeclarePassive(q.Topology.FailedQueue, true, false, false, false, nil)
	}
	_ = ch.Close()
}

func (q FailedQueue) carryOut(ctx context.Context, verdict Verdict, d amqp.Delivery, letter DeadLetter) error {
	if verdict == Keep {
		return nil
	}
	if verdict == Requeue {
		publishing := amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Priority: d.Priority,
			CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body,
		}
		if publishing.Headers == nil {
			publishing.Headers = amqp.Table{}
		}
		publishing.Headers[headerReason] = letter.Reason // by which its reader knows that it was moved back
		delete(publishing.Headers, "CC")                 // it went to all of these already
		forgetDeaths(publishing.Headers)
		if err := q.Publisher.publish(ctx, outgoing{key: letter.Queue, mandatory: true, Publishing: publishing}); err != nil {
			return fmt.Errorf("give it back to %s: %w", letter.Queue, err)
		}
	}
	return d.Ack(false)
}

// letter reads what we wrote, or else what the broker did: the dead letters of others are here too.
func (q FailedQueue) letter(d amqp.Delivery) DeadLetter {
	msg, _ := marshaler{}.Unmarshal(d)
	letter := DeadLetter{
		Delivery: deliveryFrom(msg), CorrelationID: d.CorrelationId, ContentType: d.ContentType, Headers: d.Headers,
		Reason: text(d.Headers, headerReason, "x-first-death-reason"), Detail: text(d.Headers, headerDetail),
		Queue: text(d.Headers, headerOrigin, "x-first-death-queue"),
	}
	letter.Attempt = attemptsTold(msg)
	if letter.Reason == "" {
		letter.Reason = "unknown"
	}
	if letter.Queue == "" {
		letter.Queue = q.Topology.PushQueue
	}
	letter.FailedAt, _ = d.Headers[headerFailedAt].(time.Time)
	if deaths, _ := d.Headers["x-death"].([]any); letter.FailedAt.IsZero() && len(deaths) > 0 {
		death, _ := deaths[0].(amqp.Table)
		letter.FailedAt, _ = death["time"].(time.Time)
	}
	return letter
}

// text is the first of these headers that is a text.
func text(headers amqp.Table, names ...string) string {
	for _, name := range names {
		if value, ok := headers[name].(string); ok && value != "" {
			return value
		}
	}
	return ""
}
