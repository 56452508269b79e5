package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

func TestSessionIsBoundInWhatItCanHoldUp(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	for setting, value := range map[string]string{
		"statement_timeout": "15s", "idle_in_transaction_session_timeout": "30s", "lock_timeout": "10s",
		"application_name": "user-service",
	} {
		require.Equal(t, value, get[string](t, db, `SELECT current_setting($1)`, setting))
	}
}

func TestSettingsInTheURLWin(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db := open(t, with(t, database, "statement_timeout", "100"), 1)
	began := time.Now()
	requireUnavailable(t, db.Get(t.Context(), new(string), `SELECT pg_sleep($1)::text`, 20))
	require.Less(t, time.Since(began), 10*time.Second)

	db = open(t, with(t, database, "idle_in_transaction_session_timeout", "100"), 1)
	admin := open(t, database, 1)
	requireUnavailable(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, add(ctx, db, 1, "one"))
		servertest.Eventually(t, func() bool {
			return !get[bool](t, admin, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction')`)
		}, "the server ends the forgotten transaction")
		return add(ctx, db, 2, "two")
	}))
	require.Empty(t, names(t, db))
}

func TestPoolKeepsItsConnections(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 3)
	require.NoError(t, db.InTx(t.Context(), func(context.Context) error {
		return db.InTx(t.Context(), func(context.Context) error {
			return db.InTx(t.Context(), func(context.Context) error { return nil })
		})
	}))
	require.Equal(t, 3, db.Pool().Stats().Idle)
	require.Equal(t, 3, db.Pool().Stats().MaxOpenConnections)
}

func TestFaultOfADatabaseURLDoesNotShowItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://user:hush@host:port/db", "postgres://user:hush@ho st/db", "postgres://user:hush%zz@host/db",
		"host=localhost user=me password=hush", "password=hush", "mysql://user:hush@host/db", "user:hush@host/db", "hush",
		"postgres://user:hush@host/db?sslmode=nonsense", "postgres://user:hush@host/db?connect_timeout=hush",
		"postgres://user:hush@host/db?sslmode=verify-full&sslrootcert=/nowhere",
	} {
		db, err := postgres.Open(url, 1)
		if err == nil {
			err = db.Ping(t.Context())
		}
		require.Error(t, err, url)
		if url != "postgres://user:hush@host/db?connect_timeout=hush" {
			require.NotContains(t, err.Error(), "hush")
		}
	}
}

func TestServerThatRefusesThePasswordDoesNotShowIt(t *testing.T) {
	t.Parallel()
	db := open(t, with(t, newDatabase(t), "password", "hush"), 1)
	err := db.Ping(t.Context())
	requireNotUnavailable(t, err) // waiting does not help
	require.NotContains(t, err.Error(), "hush")
}
