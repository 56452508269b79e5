package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Where the floors publish and consume.
const (
	floorEvents    = "floor.events"
	floorQueue     = "floor.queue"
	floorSlowQueue = "floor.slow.queue"
)

// waiting is how many messages are ready in queue. A passive declaration costs the broker nothing,
// and unlike the management API it knows at once.
func (w *world) waiting(queue string) int {
	return must(w.amqp.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages
}

const relayBar = 0.8 // however many rows wait

// relay has rows wait in the outbox.
func relay(_ context.Context, w *world) job { return w.backlog(20_000) }

func (w *world) backlog(rows int) job {
	return job{
		what:  "relay",
		bar:   relayBar,
		floor: w.drain(rows, "floor.outbox", floorEvents, func(ctx context.Context) { w.ask(ctx, "/relay") }),
		// A change wakes the service's relay, which would look by itself within a second.
		service: w.drain(rows, "messaging.outbox", "user.events", func(ctx context.Context) {
			name := fmt.Sprintf(`{"name":"Grace Hopper at %d"}`, time.Now().UnixNano())
			one := inTurn(request("PATCH", profilePath, w.users[0].token, name))
			must(send(ctx, w.service.address, one, new(int), time.Now().Add(time.Millisecond)))
		}),
	}
}

// drain lasts from when the rows are in the outbox until all are in a queue that takes every event.
func (w *world) drain(rows int, outbox, exchange string, wake func(context.Context)) side {
	const taken = "bench.events"
	must(w.amqp.QueueDeclare(taken, true, false, false, false, nil))
	return func(ctx context.Context, scale float64) round {
		check(w.amqp.QueueBind(taken, "#", exchange, false, nil))
		n := int(float64(rows) * scale)
		must(w.db.ExecContext(ctx, "VACUUM "+outbox)) // as autovacuum would have since the round before
		tx := must(w.db.BeginTx(ctx, nil))
		must(tx.ExecContext(ctx, `
			INSERT INTO `+outbox+` (id, topic, source, subject, sequence, correlation_id, traceparent, data)
			SELECT gen_random_uuid(), 'user.preferences_changed', 'preferences', s, n, gen_random_uuid(), '',
				json_build_object('user_id', s, 'email', true, 'push', false, 'changed', ARRAY['push'])
			FROM (SELECT n, gen_random_uuid() AS s FROM generate_series(1, $1) AS n) AS made`, n))
		begin := time.Now()
		check(tx.Commit()) // the relay sees all rows at once
		wake(ctx)
		for have := 0; have < n; have = w.waiting(taken) {
			await(ctx, "another row is published", 5*time.Millisecond, func() bool { return w.waiting(taken) > have })
		}
		await(ctx, "no row is left", time.Millisecond, func() bool { return w.number(ctx, "SELECT count(*) FROM "+outbox) == 0 })
		r := round{done: n, took: time.Since(begin)}
		check(w.amqp.QueueUnbind(taken, "#", exchange, nil)) // other jobs would fill the queue
		must(w.amqp.QueuePurge(taken, false))
		return r
	}
}

// pushBody is a message as producers write it.
func pushBody(requestID, userID string) []byte {
	return fmt.Appendf(nil, `{"notification_type":"push","request_id":%q,"user_id":%q,"template_code":"welcome_notification",`+
		`"variables":{"name":"Grace","link":"https://example.com"},"priority":1,"metadata":{}}`, requestID, userID)
}

// push ends at a provider that costs nothing.
func push(_ context.Context, w *world) job {
	return job{
		what:    "push.queue",
		bar:     0.6,
		floor:   w.deliver(floorQueue, "floor.deliveries", ""),
		service: w.deliver("push.queue", "push.deliveries", ""),
	}
}

// slowPush ends at a provider that takes its time, as those of the world do.
func slowPush(ctx context.Context, w *world) job {
	const takes = 5 * time.Millisecond
	provider := w.serve(ctx, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		time.Sleep(takes)
	}))
	return job{
		what:     fmt.Sprintf("push.queue, provider %d ms", takes.Milliseconds()),
		bar:      0.75,
		settings: webhook(provider),
		floor:    w.deliver(floorSlowQueue, "floor.deliveries", provider),
		service:  w.deliver("push.queue", "push.deliveries", provider),
	}
}

// webhook are the settings by which the service delivers to provider.
func webhook(provider string) []string {
	return []string{"PUSH_PROVIDER=webhook", "PUSH_WEBHOOK_URL=" + provider}
}

// deliver has messages appear in the queue all at once, and ends with the last outcome. The floor is
// told of its provider by each message.
func (w *world) deliver(queue, outcomes, provider string) side {
	const messages = 10_000
	return func(ctx context.Context, scale float64) round {
		n := int(messages * scale)
		must(w.db.ExecContext(ctx, "TRUNCATE "+outcomes))
		ch := must(w.broker.Channel())
		defer func() { _ = ch.Close() }()
		check(ch.Tx())
		for i := range n {
			check(ch.PublishWithContext(ctx, "", queue, false, false, amqp.Publishing{
				ContentType: "application/json", DeliveryMode: amqp.Persistent, ReplyTo: provider,
				Body: pushBody(uuid.NewString(), w.users[i%userCount].id),
			}))
		}
		begin := time.Now()
		check(ch.TxCommit())
		await(ctx, "the queue is empty", 5*time.Millisecond, func() bool { return w.waiting(queue) == 0 })
		await(ctx, "every message has its outcome", 5*time.Millisecond, func() bool {
			return w.number(ctx, "SELECT count(*) FROM "+outcomes+" WHERE status = 'sent'") == n
		})
		return round{done: n, took: time.Since(begin)}
	}
}
