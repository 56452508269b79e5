package postgres_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// empty gives the URL of a database without a step.
func empty(t testing.TB) string {
	t.Helper()
	database := servertest.Database(t, noSteps)
	run(t, open(t, database, 1), `DROP TABLE goose_db_version`)
	return database
}

func newMigrator(t testing.TB, database string, files fstest.MapFS) *postgres.Migrator {
	t.Helper()
	migrator, err := open(t, database, 3).NewMigrator(files)
	require.NoError(t, err)
	return migrator
}

var twoSteps = fstest.MapFS{
	"00001_one.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (id integer);\n-- +goose Down\nDROP TABLE one;\n")},
	"00002_two.sql": {Data: []byte("-- +goose Up\nINSERT INTO one VALUES (2);\n-- +goose Down\nDELETE FROM one;\n")},
}

func TestMigratorsThatStartTogetherApplyEachStepOnce(t *testing.T) {
	t.Parallel()
	database := empty(t)
	const all = 4
	done, applied := make(chan error, all), make(chan int, all)
	for range all {
		migrator := newMigrator(t, database, twoSteps)
		go func() {
			steps, err := migrator.Up(t.Context())
			applied <- len(steps)
			done <- err
		}()
	}
	total := 0
	for range all {
		require.NoError(t, <-done)
		total += <-applied
	}
	require.Equal(t, 2, total)
	require.Equal(t, 1, get[int](t, open(t, database, 1), `SELECT count(*) FROM one`))
}

func TestStepsGoUpAndDownAndUpAgain(t *testing.T) {
	t.Parallel()
	database := empty(t)
	migrator := newMigrator(t, database, twoSteps)
	pending := func() bool {
		pending, err := migrator.Pending(t.Context())
		require.NoError(t, err)
		return pending
	}
	require.True(t, pending())
	steps, err := migrator.Up(t.Context())
	require.NoError(t, err)
	require.Equal(t, []postgres.Step{{1, "00001_one.sql", true}, {2, "00002_two.sql", true}}, steps)
	require.False(t, pending())
	steps, err = migrator.Up(t.Context())
	require.NoError(t, err)
	require.Empty(t, steps)

	step, err := migrator.Down(t.Context())
	require.NoError(t, err)
	require.Equal(t, postgres.Step{2, "00002_two.sql", false}, step)
	require.True(t, pending())
	status, err := migrator.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, []postgres.Step{{1, "00001_one.sql", true}, {2, "00002_two.sql", false}}, status)
	steps, err = migrator.Up(t.Context())
	require.NoError(t, err)
	require.Len(t, steps, 1)
}

func TestEveryStepOfTheServiceGoesDownAndUpAgain(t *testing.T) {
	t.Parallel()
	db := open(t, servertest.Database(t, migrations.Files), 2)
	migrator, err := db.NewMigrator(migrations.Files)
	require.NoError(t, err)
	all, err := migrator.Status(t.Context())
	require.NoError(t, err)
	for range all {
		_, err := migrator.Down(t.Context())
		require.NoError(t, err)
	}
	require.Zero(t, get[int](t, db, `SELECT count(*) FROM pg_namespace WHERE nspname IN ('messaging', 'cache', 'auth', 'profile', 'preferences', 'push')`))
	steps, err := migrator.Up(t.Context())
	require.NoError(t, err)
	require.Len(t, steps, len(all))
}

func TestStepMayTakeLongerThanAStatementOfARequest(t *testing.T) {
	t.Parallel()
	database := with(t, empty(t), "statement_timeout", "100")
	slow := fstest.MapFS{"00001_slow.sql": {Data: []byte("-- +goose Up\nSELECT pg_sleep(0.5);\n-- +goose Down\nSELECT pg_sleep(0.5);\n")}}
	db := open(t, database, 1)
	migrator, err := db.NewMigrator(slow)
	require.NoError(t, err)
	_, err = migrator.Up(t.Context())
	require.NoError(t, err)
	_, err = migrator.Down(t.Context())
	require.NoError(t, err)
	require.Equal(t, "100ms", get[string](t, db, `SHOW statement_timeout`), "for the next who uses the connection")
}

func TestStepThatFailsLeavesNothingOfItself(t *testing.T) {
	t.Parallel()
	database := empty(t)
	broken := fstest.MapFS{
		"00001_one.sql": twoSteps["00001_one.sql"],
		"00002_bad.sql": {Data: []byte("-- +goose Up\nCREATE TABLE two (id integer);\nSELECT nonsense;\n")},
	}
	_, err := newMigrator(t, database, broken).Up(t.Context())
	require.ErrorContains(t, err, "version:2", "the step is named")
	db := open(t, database, 1)
	require.Equal(t, "one", get[string](t, db, `SELECT string_agg(relname, ' ') FROM pg_class WHERE relname IN ('one', 'two')`))
}
