package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func rabbitmqFaults() []fault {
	return []fault{
		{name: "rabbitmq-restarted", what: "RabbitMQ is stopped in order, and started at once", within: serverWithin, make: func(ctx context.Context, w *world) {
			check(w.rabbitmq.Stop(ctx))
			check(w.rabbitmq.Restart(ctx))
		}},
		{name: "rabbitmq-stopped", what: "RabbitMQ is stopped in order, and away for a while", within: serverWithin, make: func(ctx context.Context, w *world) {
			check(w.rabbitmq.Stop(ctx))
			w.hold(ctx, 8*time.Second)
			check(w.rabbitmq.Restart(ctx))
		}},
		{name: "rabbitmq-killed", what: "RabbitMQ is killed", quick: true, within: serverWithin, make: func(ctx context.Context, w *world) {
			underway(ctx, w.toRabbitMQ, func() { check(w.rabbitmq.Kill()) })
			check(w.rabbitmq.Restart(ctx))
		}},
		{name: "rabbitmq-cut", what: "connections to RabbitMQ break, and none can be made for a while", within: serverWithin, make: func(ctx context.Context, w *world) {
			cutFor(ctx, w, 6*time.Second, w.toRabbitMQ)
		}},
		{name: "rabbitmq-silent", what: "RabbitMQ goes silent: connections stay open, and nothing comes of them", within: serverWithin, make: func(ctx context.Context, w *world) {
			w.toRabbitMQ.silence()
			pause(ctx, 35*time.Second) // longer than three beats of the heart
			w.toRabbitMQ.anew(ctx)
		}},
		{name: "rabbitmq-worn", what: "connections to RabbitMQ break in the midst of what is published", within: serverWithin, make: breakMidway},
		{name: "rabbitmq-memory", what: "RabbitMQ runs out of memory, and blocks publishers", within: serverWithin, make: func(ctx context.Context, w *world) {
			check(w.rabbitmq.Control(ctx, "set_vm_memory_high_watermark", "0.00001"))
			w.hold(ctx, 12*time.Second)
			check(w.rabbitmq.Control(ctx, "set_vm_memory_high_watermark", "0.6"))
		}},
		{name: "rabbitmq-disk", what: "the disk of RabbitMQ is nearly full, and publishers are blocked", within: serverWithin, make: func(ctx context.Context, w *world) {
			check(w.rabbitmq.Control(ctx, "set_disk_free_limit", "100000GB"))
			w.hold(ctx, 12*time.Second)
			check(w.rabbitmq.Control(ctx, "set_disk_free_limit", "50MB"))
		}},
		{name: "queue-deleted", what: "push.queue is deleted under the consumer", within: serverWithin, idle: true, make: func(_ context.Context, w *world) {
			w.deleteQueue("push.queue")
		}},
		{name: "queue-otherwise", what: "push.queue is declared anew with other arguments", within: serverWithin, idle: true, make: otherwise},
	}
}

// breakMidway has the relay publish batches that are larger than what a connection lets through.
func breakMidway(ctx context.Context, w *world) {
	w.relay.kill()
	w.hold(ctx, 4*time.Second) // events gather meanwhile
	w.toRabbitMQ.wear(40_000)
	w.relay.start()
	w.hold(ctx, 6*time.Second)
	w.toRabbitMQ.anew(ctx)
}

// otherwise has somebody else be faster at declaring the queue.
func otherwise(_ context.Context, w *world) {
	declared := amqp.Table{"x-max-length": 1_000_000}
	w.consumer.terminate() // it would declare the queue as soon as it was gone
	w.apis[0].freeze()     // and so would every other connection that publishes a message for it
	w.apis[1].freeze()
	w.deleteQueue("push.queue")
	err := w.onChannel(func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare("push.queue", true, false, false, false, declared); err != nil {
			return err
		}
		return ch.QueueBind("push.queue", "push", "notifications.direct", false, nil)
	})
	w.apis[0].thaw()
	w.apis[1].thaw()
	check(err)
	w.consumer.start()
}

func cutFor(ctx context.Context, w *world, d time.Duration, links ...*link) {
	underway(ctx, links[0], func() {
		for _, l := range links {
			l.cut()
		}
	})
	w.hold(ctx, d)
	for _, l := range links {
		l.mend()
	}
}

// underway does something while much is on its way over a link, there and back: otherwise it would often
// happen when nothing is.
func underway(ctx context.Context, l *link, fn func()) {
	l.delay("upstream", 100)
	l.delay("downstream", 100)
	pause(ctx, 500*time.Millisecond)
	fn()
	pause(ctx, lingering)
	l.calm(ctx)
}

func postgresFaults() []fault {
	return []fault{
		{name: "postgres-restarted", what: "PostgreSQL is stopped fast, and started at once", within: serverWithin, make: func(ctx context.Context, w *world) {
			check(w.postgres.Stop(ctx))
			check(w.postgres.Restart(ctx))
		}},
		{name: "postgres-killed", what: "PostgreSQL is killed", quick: true, within: serverWithin, make: func(ctx context.Context, w *world) {
			underway(ctx, w.toPostgres, func() { check(w.postgres.Kill()) })
			check(w.postgres.Restart(ctx))
		}},
		{name: "postgres-cut", what: "connections to PostgreSQL break, and none can be made for a while", within: serverWithin, make: func(ctx context.Context, w *world) {
			cutFor(ctx, w, 6*time.Second, w.toPostgres)
		}},
		{name: "postgres-silent", what: "PostgreSQL goes silent", within: serverWithin, make: func(ctx context.Context, w *world) {
			w.toPostgres.silence()
			w.hold(ctx, 20*time.Second)
			w.toPostgres.anew(ctx)
		}},
		{name: "postgres-slow", what: "PostgreSQL answers 200 ms later", within: serverWithin, make: func(ctx context.Context, w *world) {
			w.toPostgres.slow(200)
			w.hold(ctx, 10*time.Second)
			w.toPostgres.calm(ctx)
		}},
		{name: "postgres-full", what: "somebody takes all connections of PostgreSQL, the service's too", within: serverWithin, make: takeConnections},
		{name: "postgres-held", what: "somebody leaves a transaction open that has written", within: serverWithin, make: func(ctx context.Context, w *world) {
			tx := must(w.db.BeginTx(ctx, nil))
			must(tx.ExecContext(ctx, `CREATE TABLE public.held (); LOCK TABLE public.held`))
			w.hold(ctx, time.Minute)
			check(tx.Rollback())
		}},
	}
}

// takeConnections opens as many as there are, ends the service's, and takes those too.
func takeConnections(ctx context.Context, w *world) {
	db := must(sql.Open("postgres", w.postgres.URL))
	defer func() { _ = db.Close() }()
	var taken []*sql.Conn
	defer func() {
		for _, conn := range taken {
			_ = conn.Close()
		}
	}()
	end := time.Now().Add(8 * time.Second)
	for time.Now().Before(end) && ctx.Err() == nil {
		conn, err := db.Conn(ctx)
		if err == nil {
			taken = append(taken, conn)
			continue
		}
		if len(taken) == 0 {
			check(fmt.Errorf("take connections: %w", err))
		}
		_, err = taken[0].ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^(api|consumer|relay)-'`)
		check(err)
	}
}

func redisFaults() []fault {
	return []fault{
		{name: "redis-stopped", what: "Redis is stopped, and starts empty", cacheLags: true, make: func(ctx context.Context, w *world) {
			check(w.redis.Stop(ctx))
			w.hold(ctx, 6*time.Second)
			check(w.redis.Restart(ctx))
		}},
		{name: "redis-killed", what: "Redis is killed, and starts empty at once", cacheLags: true, make: func(ctx context.Context, w *world) {
			check(w.redis.Kill())
			check(w.redis.Restart(ctx))
		}},
		{name: "redis-flushed", what: "Redis forgets everything", make: func(ctx context.Context, w *world) {
			for range 3 {
				w.flushRedis(ctx)
				w.hold(ctx, 2*time.Second)
			}
		}},
		{name: "redis-slow", what: "Redis answers 300 ms later", cacheLags: true, make: func(ctx context.Context, w *world) {
			for _, l := range w.toRedis {
				l.slow(300)
			}
			w.hold(ctx, 10*time.Second)
			for _, l := range w.toRedis {
				l.calm(ctx)
			}
		}},
		{name: "redis-parted", what: "Redis is out of everybody's reach, and comes back with old contents", quick: true, cacheLags: true, make: func(ctx context.Context, w *world) {
			cutFor(ctx, w, 8*time.Second, w.toRedis[0], w.toRedis[1])
		}},
		{name: "redis-parted-of-one", what: "Redis is out of one API's reach, and others go on using it", cacheLags: true, make: func(ctx context.Context, w *world) {
			cutFor(ctx, w, 8*time.Second, w.toRedis[0])
		}},
		{name: "redis-silent", what: "Redis goes silent", cacheLags: true, make: func(ctx context.Context, w *world) {
			w.toRedis[0].silence()
			w.toRedis[1].silence()
			w.hold(ctx, 8*time.Second)
			w.toRedis[0].anew(ctx)
			w.toRedis[1].anew(ctx)
		}},
	}
}

func providerFaults() []fault {
	return []fault{
		{name: "provider-away", what: "the device provider answers 503", quick: true, make: func(ctx context.Context, w *world) {
			w.provider.away.Store(true)
			w.hold(ctx, 12*time.Second)
			w.provider.away.Store(false)
		}},
		{name: "provider-slow", what: "the device provider takes 3 s for each message", make: func(ctx context.Context, w *world) {
			w.provider.slow.Store(int64(3 * time.Second))
			w.hold(ctx, 12*time.Second)
			w.provider.slow.Store(0)
		}},
	}
}
