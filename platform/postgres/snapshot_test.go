package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/postgres"
)

func snapshot(t *testing.T, database string) *postgres.Snapshot {
	t.Helper()
	s, err := postgres.OpenSnapshot(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db := open(t, database, 1)
	run(t, db, `INSERT INTO things VALUES (1, 'before')`)
	s := snapshot(t, database)
	var before, after int
	require.NoError(t, s.Get(t.Context(), &before, `SELECT count(*) FROM things`))
	run(t, db, `INSERT INTO things VALUES (2, 'since')`)
	require.NoError(t, s.Get(t.Context(), &after, `SELECT count(*) FROM things`))
	require.Equal(t, [2]int{1, 1}, [2]int{before, after})
}

func TestSnapshotIsReadByACursor(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	run(t, open(t, database, 1), `INSERT INTO things SELECT i, 'thing' FROM generate_series(1, 5) AS i`)
	s := snapshot(t, database)
	require.NoError(t, s.Exec(t.Context(), `DECLARE c NO SCROLL CURSOR FOR SELECT id FROM things ORDER BY id`))
	var read [][]int
	for {
		var ids []int
		require.NoError(t, s.Select(t.Context(), &ids, `FETCH 2 FROM c`))
		if len(ids) == 0 {
			break
		}
		read = append(read, ids)
	}
	require.Equal(t, [][]int{{1, 2}, {3, 4}, {5}}, read)
}

func TestSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	require.ErrorContains(t, snapshot(t, database).Exec(t.Context(), `INSERT INTO things VALUES (1, 'mine')`), "read-only")
	require.Empty(t, names(t, open(t, database, 1)))
}

func TestSnapshotMayTakeItsTimeUnlessItsURLSaysOtherwise(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	for url, wanted := range map[string]string{database: "0", with(t, database, "statement_timeout", "1234"): "1234ms"} {
		var timeout string
		require.NoError(t, snapshot(t, url).Get(t.Context(), &timeout, `SHOW statement_timeout`))
		require.Equal(t, wanted, timeout)
	}
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := postgres.OpenSnapshot(ctx, newDatabase(t))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, s.Exec(ctx, `SELECT 1`), context.Canceled)
	require.NoError(t, s.Close())
}

func TestSnapshotOfADatabaseOutOfReachIsUnavailableAndItsPasswordUnseen(t *testing.T) {
	t.Parallel()
	_, err := postgres.OpenSnapshot(t.Context(), "postgres://user:hidden-secret@127.0.0.1:1/things")
	require.Equal(t, fault.Unavailable, fault.From(err).Kind)
	require.NotContains(t, err.Error(), "hidden-secret")
	_, err = postgres.OpenSnapshot(t.Context(), "postgres://user:hidden-secret@host:port%/things")
	require.NotContains(t, err.Error(), "hidden-secret")
	require.ErrorContains(t, err, "cannot be parsed")
}
