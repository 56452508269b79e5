package main

import (
	"context"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/messaging"
)

// retrySteps are the service's, so that its queues can be named.
var retrySteps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second}

func retryStepsText() string {
	var all []string
	for _, step := range retrySteps {
		all = append(all, step.String())
	}
	return strings.Join(all, ",")
}

// ours are the queues that are empty when all has come to rest.
func (w *world) ours() []string {
	names := []string{"push.queue"}
	names = append(names, messaging.Topology{RetrySteps: retrySteps}.RetryQueues("push.queue")...)
	for _, l := range w.listeners {
		names = append(names, l.queue)
	}
	return names
}

// onChannel does something by a connection of its own, past the link.
func (s *stack) onChannel(fn func(ch *amqp.Channel) error) error {
	conn, err := amqp.DialConfig(s.rabbitmq.URL, amqp.Config{Dial: amqp.DefaultDial(time.Second), Heartbeat: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return fn(ch)
}

// depth is how many messages are ready in these queues together, and how many consumers they have: -1
// when one is not there, or nobody answers.
func (s *stack) depth(names ...string) (messages, consumers int) {
	err := s.onChannel(func(ch *amqp.Channel) error {
		for _, name := range names {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			if err != nil {
				return err
			}
			messages, consumers = messages+q.Messages, consumers+q.Consumers
		}
		return nil
	})
	if err != nil {
		return -1, -1
	}
	return messages, consumers
}

// unsettled is how many of these messages have no outcome yet; -1 when nobody knows.
func (s *stack) unsettled(ctx context.Context, requestIDs []string) int {
	return s.number(ctx, `
		SELECT count(*) FROM unnest($1::text[]) AS id
		WHERE NOT EXISTS (SELECT FROM push.deliveries d WHERE d.request_id = id AND d.status IN ('sent', 'skipped', 'failed'))`,
		"{"+strings.Join(requestIDs, ",")+"}")
}

// quiet waits until every message that was confirmed has its outcome and no queue has another, so that
// a queue may be deleted. Producers are held until release is called.
func (w *world) quiet(ctx context.Context, limit time.Duration) (release func()) {
	w.producer.held.Lock()
	await(ctx, limit, "every push message has its outcome", func() bool {
		ready, _ := w.depth(w.ours()...)
		return ready == 0 && w.unsettled(ctx, w.producer.confirmed()) == 0
	})
	return w.producer.held.Unlock
}

// deleteQueue is what an operator may do.
func (s *stack) deleteQueue(name string) {
	check(s.onChannel(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	}))
}
