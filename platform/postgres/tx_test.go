package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

var errRefused = errors.New("refused")

func TestInnerTransactionJoinsTheOuterOne(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, other := open(t, database, 2), open(t, database, 1)
	require.False(t, postgres.InTransaction(t.Context()))
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.True(t, postgres.InTransaction(ctx))
		require.NoError(t, add(ctx, db, 1, "outer"))
		require.NoError(t, db.InTx(ctx, func(ctx context.Context) error { return add(ctx, db, 2, "inner") }))
		require.Empty(t, names(t, other), "the inner one committed by itself")
		var seen []string
		require.NoError(t, db.Select(ctx, &seen, `SELECT name FROM things ORDER BY id`))
		require.Equal(t, []string{"outer", "inner"}, seen)
		return nil
	}))
	require.Equal(t, []string{"outer", "inner"}, names(t, other))
}

func TestErrorOfTheInnerTransactionUndoesTheOuterOneToo(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.ErrorIs(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, add(ctx, db, 1, "outer"))
		return db.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, add(ctx, db, 2, "inner"))
			return errRefused
		})
	}), errRefused)
	require.Empty(t, names(t, db))
}

func TestPanicRollsBackAndGivesTheConnectionBack(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.PanicsWithValue(t, "boom", func() {
		_ = db.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, add(ctx, db, 1, "one"))
			panic("boom")
		})
	})
	require.Empty(t, names(t, db)) // on the one connection there is
}

func TestFailedStatementWhoseErrorIsIgnoredCommitsNothing(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.Error(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, add(ctx, db, 1, "one"))
		_ = add(ctx, db, 1, "the same id")
		return nil
	}))
	require.Empty(t, names(t, db))
}

func TestHooksRunInOrderAroundTheCommit(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, other := open(t, database, 2), open(t, database, 1)
	var order []string
	after := func(name string) func(context.Context) {
		return func(ctx context.Context) {
			order = append(order, name)
			require.Equal(t, []string{"one", "by a hook"}, names(t, other), "after the commit")
			require.False(t, postgres.InTransaction(ctx))
		}
	}
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, postgres.AfterCommit(ctx, after("after 1")))
		require.NoError(t, postgres.BeforeCommit(ctx, func(ctx context.Context) error {
			order = append(order, "before 1")
			require.NoError(t, postgres.AfterCommit(ctx, after("after 3")))
			return postgres.BeforeCommit(ctx, func(ctx context.Context) error {
				order = append(order, "before 3")
				return add(ctx, db, 2, "by a hook")
			})
		}))
		require.NoError(t, postgres.BeforeCommit(ctx, func(context.Context) error {
			order = append(order, "before 2")
			return nil
		}))
		return db.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, postgres.AfterCommit(ctx, after("after 2")))
			require.NoError(t, add(ctx, db, 1, "one"))
			require.Empty(t, order, "hooks wait for the outermost transaction")
			return nil
		})
	}))
	require.Equal(t, []string{"before 1", "before 2", "before 3", "after 1", "after 2", "after 3"}, order)
}

func TestHookThatRefusesRollsBackAndNothingRunsAfterIt(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.ErrorIs(t, db.InTx(t.Context(), func(ctx context.Context) error {
		never := func(context.Context) { t.Error("ran although nothing was committed") }
		require.NoError(t, postgres.AfterCommit(ctx, never))
		require.NoError(t, postgres.BeforeCommit(ctx, func(context.Context) error { return errRefused }))
		require.NoError(t, postgres.BeforeCommit(ctx, func(ctx context.Context) error { never(ctx); return nil }))
		return add(ctx, db, 1, "one")
	}), errRefused)
	require.Empty(t, names(t, db))
}

func TestNothingRunsAfterACommitThatFailed(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	run(t, db, `ALTER TABLE things ADD CONSTRAINT late UNIQUE (name) DEFERRABLE INITIALLY DEFERRED`)
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, postgres.AfterCommit(ctx, func(context.Context) { t.Error("ran although nothing was committed") }))
		require.NoError(t, add(ctx, db, 1, "same"))
		return add(ctx, db, 2, "same")
	})
	requireNotUnavailable(t, err)
	require.Empty(t, names(t, db))
}

func TestClientWhoLeavesAfterTheCommitDoesNotStopTheHooks(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	ctx, leave := context.WithCancel(t.Context())
	require.NoError(t, db.InTx(ctx, func(ctx context.Context) error {
		require.NoError(t, postgres.AfterCommit(ctx, func(context.Context) { leave() }))
		return postgres.AfterCommit(ctx, func(ctx context.Context) { require.NoError(t, add(ctx, db, 1, "after")) })
	}))
	require.Equal(t, []string{"after"}, names(t, db))
}

func TestClientWhoLeavesBeforeTheCommitUndoesIt(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	ctx, leave := context.WithCancel(t.Context())
	err := db.InTx(ctx, func(ctx context.Context) error {
		require.NoError(t, add(ctx, db, 1, "one"))
		leave()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	requireNotUnavailable(t, err)
	require.Empty(t, names(t, db))
}

// TestTransactionBeginsWithItsFirstStatement fails when the driver begins one in other words than
// beginLater knows.
func TestTransactionBeginsWithItsFirstStatement(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, other := open(t, database, 1), open(t, database, 1)
	var pid int
	require.NoError(t, db.Get(t.Context(), &pid, `SELECT pg_backend_pid()`))
	state := func() (state string) {
		require.NoError(t, other.Get(t.Context(), &state, `SELECT state FROM pg_stat_activity WHERE pid = $1`, pid))
		return state
	}
	for _, end := range []error{nil, errRefused} {
		require.ErrorIs(t, db.InTx(t.Context(), func(ctx context.Context) error {
			require.Equal(t, "idle", state())
			require.NoError(t, add(ctx, db, 1, "one"))
			require.Equal(t, "idle in transaction", state())
			require.Empty(t, names(t, other))
			return end
		}), end)
		require.Equal(t, "idle", state())
		run(t, db, `DELETE FROM things`)
		require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { return end }), end, "without a statement")
	}
}

// TestSettingThatIsReloadedDisturbsNoTransaction: the server tells a connection of it within its next answer.
func TestSettingThatIsReloadedDisturbsNoTransaction(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, other := open(t, database, 1), open(t, database, 1)
	t.Cleanup(func() {
		for _, statement := range []string{`ALTER SYSTEM RESET "IntervalStyle"`, `SELECT pg_reload_conf()`} {
			_, err := other.Exec(context.WithoutCancel(t.Context()), statement)
			require.NoError(t, err)
		}
	})
	reload := func(style string) {
		run(t, other, `ALTER SYSTEM SET "IntervalStyle" = `+style)
		run(t, other, `SELECT pg_reload_conf()`)
		servertest.Eventually(t, func() bool {
			var now string
			require.NoError(t, other.Get(t.Context(), &now, `SHOW "IntervalStyle"`))
			return now == style
		}, "the setting is %s", style)
	}
	statements := map[string]func(context.Context){
		"prepared": func(ctx context.Context) { require.NoError(t, add(ctx, db, 1, "one")) },
		"plain": func(ctx context.Context) {
			_, err := db.Exec(ctx, `INSERT INTO things VALUES (1, 'one')`)
			require.NoError(t, err)
		},
		"with rows": func(ctx context.Context) {
			var found []int
			require.NoError(t, db.Select(ctx, &found, `SELECT 7`))
			require.Equal(t, []int{7}, found)
		},
	}
	for name, statement := range statements {
		for _, style := range []string{"iso_8601", "sql_standard"} {
			reload(style)
			require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
				statement(ctx)
				return nil
			}), name)
			run(t, db, `DELETE FROM things`)
		}
	}
}

func TestLocalLivesAsLongAsItsTransaction(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	type counter struct{ n int }
	for range 2 {
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			mine, err := postgres.Local[counter](ctx, "a key")
			require.NoError(t, err)
			require.Zero(t, mine.n)
			mine.n = 7
			return db.InTx(ctx, func(ctx context.Context) error {
				same, err := postgres.Local[counter](ctx, "a key")
				require.NoError(t, err)
				require.Same(t, mine, same)
				another, err := postgres.Local[counter](ctx, "another key")
				require.NotSame(t, mine, another)
				return err
			})
		}))
	}
}

func TestHooksAreRefusedOutsideATransaction(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, postgres.BeforeCommit(t.Context(), nil), postgres.ErrNoTransaction)
	require.ErrorIs(t, postgres.AfterCommit(t.Context(), nil), postgres.ErrNoTransaction)
	_, err := postgres.Local[int](t.Context(), "key")
	require.ErrorIs(t, err, postgres.ErrNoTransaction)
}
