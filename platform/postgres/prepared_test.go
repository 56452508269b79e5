package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each of them holds a connection, none is left: a statement that needed a second one to be prepared
// would wait for ever.
func TestAsManyTransactionsAsConnectionsPrepareTheirStatements(t *testing.T) {
	t.Parallel()
	const conns = 4
	db := open(t, newDatabase(t), conns)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var ready, all sync.WaitGroup
	ready.Add(conns)
	errs := make(chan error, 5*conns)
	for n := range 5 * conns {
		all.Go(func() {
			errs <- db.InTx(ctx, func(ctx context.Context) error {
				if n < conns {
					ready.Done()
				}
				ready.Wait() // every connection is taken
				if err := add(ctx, db, n, "x"); err != nil {
					return err
				}
				var name string
				return db.Get(ctx, &name, `SELECT name FROM things WHERE id = $1`, n)
			})
		})
		if n == conns-1 {
			ready.Wait()
		}
	}
	all.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

const preparedHere = `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%things%'`

func TestStatementIsPreparedOncePerConnection(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	for n := range 5 {
		require.NoError(t, add(t.Context(), db, n, "x"))
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error { return add(ctx, db, 10+n, "x") }))
		get[string](t, db, `SELECT name FROM things WHERE id = $1`, n)
	}
	require.Equal(t, 2, get[int](t, db, preparedHere))
	require.Equal(t, 0, get[int](t, db, preparedHere+` AND generic_plans + custom_plans = 0`), "prepared, and used")
}

func TestSeveralStatementsWithoutArgumentsRunUnprepared(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	run(t, db, `INSERT INTO things VALUES (1, 'one'); INSERT INTO things VALUES (2, 'two')`)
	require.Equal(t, []string{"one", "two"}, names(t, db))
	require.Zero(t, get[int](t, db, preparedHere))
}

func TestConnectionRemembersNoMoreStatementsThanItsBound(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	for n := range 300 {
		require.Equal(t, n, get[int](t, db, fmt.Sprintf(`SELECT $1::integer /* things %d */`, n), n))
	}
	require.Equal(t, 256, get[int](t, db, preparedHere))
}

func TestPreparedStatementsGoOnWorkingWhenAColumnIsAdded(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.NoError(t, add(t.Context(), db, 1, "one"))
	read := func() string { return get[string](t, db, `SELECT name FROM things WHERE id = $1`, 1) }
	require.Equal(t, "one", read())
	run(t, db, `ALTER TABLE things ADD COLUMN colour text NOT NULL DEFAULT 'red'`)
	require.Equal(t, "one", read())
	_, err := db.Exec(t.Context(), `INSERT INTO things (id, name) VALUES ($1, $2)`, 2, "two")
	require.NoError(t, err)
}

func TestPreparedStatementsThatNoLongerFitArePreparedAnew(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	db, other := open(t, database, 3), open(t, database, 1)
	require.NoError(t, add(t.Context(), db, 1, "1"))
	const read = `SELECT name FROM things WHERE id = $1`
	var all sync.WaitGroup
	all.Add(3)
	errs := make(chan error, 3)
	for range 3 { // prepare it on every connection
		go func() {
			errs <- db.InTx(t.Context(), func(ctx context.Context) error {
				all.Done()
				all.Wait()
				var name string
				return db.Get(ctx, &name, read, 1)
			})
		}()
	}
	for range 3 {
		require.NoError(t, <-errs)
	}

	run(t, other, `ALTER TABLE things ALTER COLUMN name TYPE varchar(20)`)
	require.Equal(t, "1", get[string](t, db, read, 1), "outside a transaction nothing is noticed")

	run(t, other, `ALTER TABLE things ALTER COLUMN name TYPE text`)
	one := open(t, database, 1)
	get[string](t, one, read, 1)
	run(t, other, `ALTER TABLE things ALTER COLUMN name TYPE varchar(20)`)
	inTx := func() error {
		return one.InTx(t.Context(), func(ctx context.Context) error {
			var name string
			return one.Get(ctx, &name, read, 1)
		})
	}
	requireUnavailable(t, inTx()) // its transaction is lost
	require.NoError(t, inTx())
}

func TestStatementsThatSomebodyDroppedArePreparedAnew(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	require.NoError(t, add(t.Context(), db, 1, "one"))
	run(t, db, `DEALLOCATE ALL`)
	require.NoError(t, add(t.Context(), db, 2, "two"))
}
