package postgres_test

import (
	"context"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

func TestDatabaseThatIsAwayIsUnavailableByEveryDoor(t *testing.T) {
	t.Parallel()
	proxy, database := servertest.NewProxy(t, newDatabase(t))
	db := open(t, database, 2)
	require.NoError(t, db.Ping(t.Context()))
	migrator, err := db.NewMigrator(noSteps)
	require.NoError(t, err)
	proxy.Cut()
	doors := map[string]func() error{
		"Ping":    func() error { return db.Ping(t.Context()) },
		"Get":     func() error { return db.Get(t.Context(), new(int), `SELECT $1::integer`, 1) },
		"Select":  func() error { return db.Select(t.Context(), new([]int), `SELECT 1`) },
		"Exec":    func() error { return add(t.Context(), db, 1, "one") },
		"InTx":    func() error { return db.InTx(t.Context(), func(context.Context) error { return nil }) },
		"Pending": func() error { _, err := migrator.Pending(t.Context()); return err },
		"Up":      func() error { _, err := migrator.Up(t.Context()); return err },
	}
	for name, door := range doors {
		requireUnavailable(t, door())
		require.Positive(t, fault.From(door()).RetryAfter, name)
	}
	proxy.Restore()
	for _, door := range doors {
		require.NoError(t, door())
	}
}

func TestDatabaseThatIsLostDuringATransactionIsUnavailable(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	proxy, proxied := servertest.NewProxy(t, database)
	db := open(t, proxied, 1)
	requireUnavailable(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, add(ctx, db, 1, "one"))
		proxy.Cut()
		return add(ctx, db, 2, "two")
	}))
	proxy.Restore()
	requireUnavailable(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, postgres.AfterCommit(ctx, func(context.Context) { t.Error("ran although the commit failed") }))
		require.NoError(t, add(ctx, db, 1, "one"))
		proxy.Cut()
		return nil
	}))
	proxy.Restore()
	require.Empty(t, names(t, db))
}

// A server that restarts has ended every connection; that is noticed before it costs a request.
func TestConnectionsThatTheServerEndedWhileIdleAreReplacedUnnoticed(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, admin := open(t, database, 5), open(t, database, 1)
	ctx := t.Context()
	require.NoError(t, db.InTx(ctx, func(context.Context) error { // two connections
		return add(ctx, db, 1, "one")
	}))
	terminate(t, admin)
	require.NoError(t, add(ctx, db, 2, "two"))
	terminate(t, admin)
	require.NoError(t, db.InTx(ctx, func(ctx context.Context) error { return add(ctx, db, 3, "three") }))
	require.Equal(t, []string{"one", "two", "three"}, names(t, db))
}

// Nobody knows whether it took effect, so it is not repeated.
func TestStatementThatTheServerInterruptedIsUnavailableAndNotRepeated(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	for name, statement := range map[string]func(db *postgres.DB) error{
		"prepared": func(db *postgres.DB) error {
			_, err := db.Exec(t.Context(), `SELECT pg_sleep($1)`, 20)
			return err
		},
		"unprepared": func(db *postgres.DB) error {
			_, err := db.Exec(t.Context(), `SELECT pg_sleep(20)`)
			return err
		},
		"query": func(db *postgres.DB) error { return db.Get(t.Context(), new(string), `SELECT pg_sleep($1)::text`, 20) },
		"in a transaction": func(db *postgres.DB) error {
			return db.InTx(t.Context(), func(ctx context.Context) error {
				return db.Get(ctx, new(string), `SELECT pg_sleep($1)::text`, 20)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, admin := open(t, database, 2), open(t, database, 1)
			done := make(chan error, 1)
			go func() { done <- statement(db) }()
			sleeping(t, admin)
			terminate(t, admin)
			select {
			case err := <-done:
				requireUnavailable(t, err)
				require.NotErrorIs(t, err, driver.ErrBadConn)
			case <-time.After(10 * time.Second):
				t.Error("it was repeated")
				terminate(t, admin)
			}
			require.NoError(t, db.Ping(t.Context()), "the next one works")
		})
	}
}

func TestCallerWhoGivesUpIsNotToldThatTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, admin := open(t, database, 1), open(t, database, 1)
	for name, statement := range map[string]func(ctx context.Context) error{
		"prepared":   func(ctx context.Context) error { return db.Get(ctx, new(string), `SELECT pg_sleep($1)::text`, 20) },
		"unprepared": func(ctx context.Context) error { return db.Get(ctx, new(string), `SELECT pg_sleep(20)::text`) },
		"exec": func(ctx context.Context) error {
			_, err := db.Exec(ctx, `SELECT pg_sleep($1)`, 20)
			return err
		},
		"in a transaction": func(ctx context.Context) error {
			return db.InTx(ctx, func(ctx context.Context) error {
				return db.Get(ctx, new(string), `SELECT pg_sleep($1)::text`, 20)
			})
		},
	} {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- statement(ctx) }()
		sleeping(t, admin)
		leave()
		err := <-done
		require.ErrorIs(t, err, context.Canceled, name)
		requireNotUnavailable(t, err)
		require.Equal(t, 1, get[int](t, db, `SELECT $1::integer`, 1), "the next one is not hit by the cancellation")
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	requireNotUnavailable(t, db.Ping(ctx))
	requireNotUnavailable(t, add(ctx, db, 1, "one"))
	requireNotUnavailable(t, db.InTx(ctx, func(context.Context) error { return nil }))
}

func TestConnectionWhoseCallerGaveUpIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	backend := func() int { return get[int](t, db, `SELECT pg_backend_pid() + $1`, 0) }
	before := backend()
	require.Equal(t, before, backend())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	requireUnavailable(t, db.Get(ctx, new(string), `SELECT pg_sleep($1)::text`, 20))
	require.NotEqual(t, before, backend(), "a cancellation that is late would hit the next statement")
}

func TestWhatEndsByItselfIsUnavailableAndWhatDoesNotIsNot(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	for _, code := range []string{"57P01", "57P02", "57P03", "57014", "55P03", "40P01", "40001", "25006", "08006", "53300", "53100"} {
		requireUnavailable(t, raise(t, db, code))
	}
	for _, code := range []string{"23505", "22P02", "P0001", "42501", "0A000"} {
		requireNotUnavailable(t, raise(t, db, code))
	}
	requireNotUnavailable(t, db.Get(t.Context(), new(int), `SELECT nonsense`))
	err := db.Get(t.Context(), new(string), `SELECT name FROM things WHERE id = $1`, 1)
	require.ErrorIs(t, err, postgres.ErrNoRows)
	requireNotUnavailable(t, err)
}

func raise(t testing.TB, db *postgres.DB, code string) error {
	t.Helper()
	_, err := db.Exec(t.Context(), `DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '`+code+`'; END $$`)
	require.Error(t, err)
	return err
}

// TestServerThatFallsSilentIsUnavailableInTime is about reads: no context can interrupt those of
// lib/pq.
func TestServerThatFallsSilentIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	proxy, dsn := servertest.NewProxy(t, newDatabase(t))
	db := open(t, dsn, 2)
	require.NoError(t, add(t.Context(), db, 1, "one"))
	proxy.Disturb(`{"name": "silent", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := add(ctx, db, 2, "two")
	require.Equal(t, fault.Unavailable, fault.From(err).Kind, "%v", err)
	require.Less(t, time.Since(start), 5*time.Second)
	proxy.Calm()
	servertest.Eventually(t, func() bool { return db.Ping(t.Context()) == nil }, "the database is back")
}

// TestConnectionThatRestedIsUsedAgain has each statement bounded by a deadline that is long over
// when the connection is taken from the pool the next time.
func TestConnectionThatRestedIsUsedAgain(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	const enough = 3 * time.Second // to connect, on a busy machine
	backend := func() (pid int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		defer cancel()
		require.NoError(t, db.Get(ctx, &pid, `SELECT pg_backend_pid()`))
		return pid
	}
	first, begun := backend(), time.Now()
	servertest.Eventually(t, func() bool { return time.Since(begun) > enough+time.Second }, "the deadline is over")
	require.Equal(t, first, backend())
}
