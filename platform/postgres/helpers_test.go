package postgres_test

import (
	"context"
	"net/url"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// noSteps makes a database without tables: each test here makes its own.
var noSteps = fstest.MapFS{"00001_nothing.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n")}}

// newDatabase gives the URL of a database with the table things.
func newDatabase(t testing.TB) string {
	t.Helper()
	database := servertest.Database(t, noSteps)
	run(t, open(t, database, 1), `CREATE TABLE things (id integer PRIMARY KEY, name text NOT NULL)`)
	return database
}

func open(t testing.TB, database string, conns int) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(database, conns)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// with adds a setting to a URL.
func with(t testing.TB, database, name, value string) string {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

func run(t testing.TB, db *postgres.DB, query string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), query, args...)
	require.NoError(t, err)
}

func get[T any](t testing.TB, db *postgres.DB, query string, args ...any) T {
	t.Helper()
	var value T
	require.NoError(t, db.Get(t.Context(), &value, query, args...))
	return value
}

func names(t testing.TB, db *postgres.DB) []string {
	t.Helper()
	names := []string{}
	require.NoError(t, db.Select(t.Context(), &names, `SELECT name FROM things ORDER BY id`))
	return names
}

func add(ctx context.Context, db *postgres.DB, id int, name string) error {
	_, err := db.Exec(ctx, `INSERT INTO things VALUES ($1, $2)`, id, name)
	return err
}

func requireUnavailable(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, fault.Unavailable, fault.From(err).Kind, "%v", err)
}

func requireNotUnavailable(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotEqual(t, fault.Unavailable, fault.From(err).Kind, "%v", err)
}

// terminate ends every session of the database but the one of by.
func terminate(t testing.TB, by *postgres.DB) {
	t.Helper()
	run(t, by, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

// sleeping waits until a statement of the database is asleep.
func sleeping(t testing.TB, by *postgres.DB) {
	t.Helper()
	servertest.Eventually(t, func() bool {
		return get[bool](t, by, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')`)
	}, "a statement sleeps")
}
