package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Where the floors publish and consume.
const (
	floorEvents = "floor.events"
	floorQueue  = "floor.queue"
)

// waiting is how many messages are ready in queue. A passive declaration costs the broker nothing,
// and unlike the management API it knows at once.
func (w *world) waiting(queue string) int {
	return must(w.amqp.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages
}

// relay has rows wait in the outbox, and a queue that takes every event.
func relay(w *world) job {
	const rows = 20_000
	const taken = "bench.events"
	check(w.amqp.ExchangeDeclare(floorEvents, amqp.ExchangeTopic, true, false, false, false, nil))
	must(w.amqp.QueueDeclare(taken, true, false, false, false, nil))
	drain := func(outbox, exchange string, wake func(context.Context)) side {
		return func(ctx context.Context, scale float64) round {
			check(w.amqp.QueueBind(taken, "#", exchange, false, nil))
			n := int(rows * scale)
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
			await(ctx, "every row is published", 5*time.Millisecond, func() bool { return w.waiting(taken) >= n })
			await(ctx, "no row is left", time.Millisecond, func() bool { return w.number(ctx, "SELECT count(*) FROM "+outbox) == 0 })
			r := round{done: n, took: time.Since(begin)}
			check(w.amqp.QueueUnbind(taken, "#", exchange, nil)) // other jobs would fill the queue
			must(w.amqp.QueuePurge(taken, false))
			return r
		}
	}
	return job{
		what:  "relay",
		floor: drain("floor.outbox", floorEvents, func(ctx context.Context) { w.ask(ctx, "/relay") }),
		// A change wakes the relay, which would look by itself within a second.
		service: drain("messaging.outbox", "user.events", func(ctx context.Context) {
			name := fmt.Sprintf(`{"name":"Grace Hopper at %d"}`, time.Now().UnixNano())
			one := [][]byte{request("PATCH", "/api/v1/users/profile/", w.users[0].token, name)}
			must(send(ctx, w.service.address, one, new(int), time.Now().Add(time.Millisecond)))
		}),
	}
}

// pushBody is a message as producers write it.
func pushBody(requestID, userID string) []byte {
	return fmt.Appendf(nil, `{"notification_type":"push","request_id":%q,"user_id":%q,"template_code":"welcome_notification",`+
		`"variables":{"name":"Grace","link":"https://example.com"},"priority":1,"metadata":{}}`, requestID, userID)
}

// push has messages appear in the queue all at once, and ends with the last outcome.
func push(w *world) job {
	const messages = 10_000
	check(w.amqp.Tx())
	deliver := func(queue, outcomes string) side {
		return func(ctx context.Context, scale float64) round {
			n := int(messages * scale)
			must(w.db.ExecContext(ctx, "TRUNCATE "+outcomes))
			for i := range n {
				check(w.amqp.PublishWithContext(ctx, "", queue, false, false,
					amqp.Publishing{ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: pushBody(uuid.NewString(), w.users[i%userCount].id)}))
			}
			begin := time.Now()
			check(w.amqp.TxCommit())
			await(ctx, "the queue is empty", 5*time.Millisecond, func() bool { return w.waiting(queue) == 0 })
			await(ctx, "every message has its outcome", 5*time.Millisecond, func() bool {
				return w.number(ctx, "SELECT count(*) FROM "+outcomes+" WHERE status = 'sent'") == n
			})
			return round{done: n, took: time.Since(begin)}
		}
	}
	return job{what: "push.queue", floor: deliver(floorQueue, "floor.deliveries"), service: deliver("push.queue", "push.deliveries")}
}
