package main

import (
	"context"
	"fmt"
	"time"
)

// gate is a lock that commits of a kind have to pass: a process can be killed while it stands there.
type gate struct {
	table, event string // what makes a transaction pass the gate
	of           func(w *world) *process
}

// gateFaults kill at a chosen point. Whoever stands at the gate has done all but its commit; ended in the
// database too, it has not committed.
func gateFaults() []fault {
	api := func(w *world) *process { return w.apis[0] }
	consumer := func(w *world) *process { return w.consumer }
	relay := func(w *world) *process { return w.relay }
	return []fault{
		{name: "api-before-commit", what: "an API is killed when it has done all but the commit, which fails", make: gate{"idempotency.requests", "UPDATE", api}.kill(true)},
		{name: "api-at-commit", what: "an API is killed while it commits, and does not hear of it", quick: true, make: gate{"idempotency.requests", "UPDATE", api}.kill(false)},
		{name: "relay-before-commit", what: "the relay is killed when all is published, and the batch stays in the outbox", quick: true, make: gate{"messaging.outbox", "DELETE", relay}.kill(true)},
		{name: "consumer-before-commit", what: "the consumer is killed when the provider has the message, and no outcome is recorded", repeats: concurrency, make: gate{"push.deliveries", "UPDATE", consumer}.kill(true)},
		{name: "consumer-at-commit", what: "the consumer is killed while the outcome is recorded, before the ack", make: gate{"push.deliveries", "UPDATE", consumer}.kill(false)},
		{name: "consumer-at-reserve", what: "the consumer is killed while it waits to reserve messages", make: func(ctx context.Context, w *world) {
			tx := must(w.db.BeginTx(ctx, nil))
			must(tx.ExecContext(ctx, `LOCK TABLE push.deliveries IN EXCLUSIVE MODE`))
			w.comesToLock(ctx, w.consumer)
			w.consumer.kill()
			check(tx.Rollback())
			w.consumer.start()
		}},
	}
}

// gateLock is the number of the lock.
const gateLock = 4242

// kill closes the gate, kills who comes there first, and opens it. undone has its transactions be rolled
// back; otherwise they commit, and nobody hears of it.
func (g gate) kill(undone bool) func(context.Context, *world) {
	return func(ctx context.Context, w *world) {
		w.exec(ctx, fmt.Sprintf(`CREATE FUNCTION public.pass_gate() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN NULL; END $$`, gateLock))
		w.exec(ctx, fmt.Sprintf(`CREATE CONSTRAINT TRIGGER gate AFTER %s ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.pass_gate()`, g.event, g.table))
		holder := must(w.db.Conn(ctx))
		defer func() { _ = holder.Close() }()
		must(holder.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_lock(%d)`, gateLock)))
		p := g.of(w)
		w.comesToLock(ctx, p)
		p.kill()
		if undone {
			must(holder.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, p.name))
		}
		must(holder.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_unlock(%d)`, gateLock)))
		w.exec(ctx, `DROP FUNCTION public.pass_gate() CASCADE`)
		p.start()
	}
}

// comesToLock waits until a statement of the process has to wait for a lock.
func (w *world) comesToLock(ctx context.Context, p *process) {
	await(ctx, 20*time.Second, p.name+" waits for a lock", func() bool {
		return w.number(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`, p.name) > 0
	})
}
