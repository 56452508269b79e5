package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const eventRate = readers * int(time.Second/readEvery)

// measureEvents changes preferences at an even pace, and has the events received by a consumer of
// their exchange.
func (w *world) measureEvents(ctx context.Context, rounds int, length time.Duration) *latency {
	users := w.more(ctx, readers*(int(length/readEvery)+1))
	floor := w.changesReceived(w.floor, floorEvents, "floor.preferences", users)
	service := w.changesReceived(w.service, "user.events", "preferences.preferences", users)
	return w.compare(ctx, "events", eventRate, rounds, length, floor, service)
}

// requireCommitTimes says at the beginning what would end the measurement.
func (w *world) requireCommitTimes(ctx context.Context) {
	var kept string
	check(w.db.QueryRowContext(ctx, "SHOW track_commit_timestamp").Scan(&kept))
	if kept != "on" {
		check(errors.New("PostgreSQL does not say when a transaction committed, which `events` needs: start it with track_commit_timestamp=on"))
	}
}

// more makes n users, whom the floor knows too.
func (w *world) more(ctx context.Context, n int) (users []user) {
	tag := seed(ctx, w.db, n)
	users = w.usersBy(ctx, "SELECT id FROM profile.users WHERE email LIKE $1", "user-"+tag+"-%")
	must(w.db.ExecContext(ctx, "INSERT INTO floor.preferences SELECT * FROM preferences.preferences ON CONFLICT DO NOTHING"))
	return users
}

// changesReceived measures from each commit to its event. In a round nobody is changed twice: so the row of who
// was changed in table tells the transaction, and PostgreSQL when it committed. That is before the commit is on
// disk, which counts too, for both sides.
func (w *world) changesReceived(program *child, exchange, table string, users []user) evenly {
	turns := make([]int, readers) // go on from round to round
	scripts := make([]script, readers)
	for n, mine := range slices.Collect(slices.Chunk(users, len(users)/readers)) {
		scripts[n] = func(turn int) []byte {
			lap, n := turn/len(mine), turn%len(mine)
			return request("PATCH", preferencesPath, mine[n].token, fmt.Sprintf(`{"email":%t}`, lap%2 == 1))
		}
	}
	return func(ctx context.Context, length time.Duration) []time.Duration {
		ch := must(w.broker.Channel())
		defer func() { _ = ch.Close() }()
		queue := must(ch.QueueDeclare("", false, true, true, false, nil)).Name
		check(ch.QueueBind(queue, "user.preferences_changed", exchange, false, nil))
		arrived := &arrivals{at: map[string]time.Time{}}
		go arrived.take(must(ch.Consume(queue, "", true, true, false, false, nil)))
		changes := len(w.pace(ctx, program, scripts, turns, length))
		await(ctx, "every event is received", 5*time.Millisecond, func() bool { return arrived.count() >= changes })
		if events := arrived.count(); events != changes {
			check(fmt.Errorf("%d changes made %d events", changes, events))
		}
		return arrived.since(w.committed(ctx, table))
	}
}

// committed says when the row of each user in table was committed.
func (w *world) committed(ctx context.Context, table string) map[string]time.Time {
	rows := must(w.db.QueryContext(ctx, "SELECT user_id, pg_xact_commit_timestamp(xmin) FROM "+table)) //nolint:rowserrcheck // check, below
	defer func() { _ = rows.Close() }()
	committed := map[string]time.Time{}
	for rows.Next() {
		var user string
		var at sql.NullTime // none of rows from before the server kept them
		check(rows.Scan(&user, &at))
		if at.Valid {
			committed[user] = at.Time
		}
	}
	check(rows.Err())
	return committed
}

// arrivals are when a consumer got the event of each user.
type arrivals struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *arrivals) take(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		now := time.Now()
		var event struct{ Subject string }
		if json.Unmarshal(d.Body, &event) != nil {
			continue // it is missed at the end
		}
		a.mu.Lock()
		a.at[event.Subject] = now
		a.mu.Unlock()
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at)
}

func (a *arrivals) since(commits map[string]time.Time) (took []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for user, at := range a.at {
		committed, known := commits[user]
		if !known {
			check(fmt.Errorf("it is not known when the change of user %s committed", user))
		}
		took = append(took, at.Sub(committed))
	}
	return took
}
