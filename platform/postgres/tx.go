package postgres

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

type txKey struct{}

type transaction struct {
	tx     *sqlx.Tx
	before []func(context.Context) error
	after  []func(context.Context)
	locals map[any]any
}

func current(ctx context.Context) *transaction {
	t, _ := ctx.Value(txKey{}).(*transaction)
	return t
}

// InTx runs fn in the transaction of ctx, or in a new one that commits when fn returns nil and is
// rolled back when it fails or panics. No hashing and no network belongs inside.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if current(ctx) != nil {
		return fn(ctx)
	}
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		return classify(ctx, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit

	t := &transaction{tx: tx}
	inside := context.WithValue(ctx, txKey{}, t)
	if err := fn(inside); err != nil {
		return err
	}
	for i := 0; i < len(t.before); i++ { // a hook may add another
		if err := t.before[i](inside); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return classify(ctx, err)
	}
	after := context.WithoutCancel(ctx) // committed: a client that left changes nothing any more
	for _, hook := range t.after {
		hook(after)
	}
	return nil
}

// ErrNoTransaction is the answer to a hook that is asked for outside InTx.
var ErrNoTransaction = errors.New("postgres: not in a transaction")

// BeforeCommit has fn run as the last thing inside the transaction; its error rolls back.
func BeforeCommit(ctx context.Context, fn func(context.Context) error) error {
	t := current(ctx)
	if t == nil {
		return ErrNoTransaction
	}
	t.before = append(t.before, fn)
	return nil
}

// AfterCommit has fn run when the outermost transaction has committed, before InTx returns.
func AfterCommit(ctx context.Context, fn func(context.Context)) error {
	t := current(ctx)
	if t == nil {
		return ErrNoTransaction
	}
	t.after = append(t.after, fn)
	return nil
}

// Local gives the value that lives under key as long as the transaction of ctx: at first the zero T.
func Local[T any](ctx context.Context, key any) (*T, error) {
	t := current(ctx)
	if t == nil {
		return nil, ErrNoTransaction
	}
	if held, ok := t.locals[key].(*T); ok {
		return held, nil
	}
	if t.locals == nil {
		t.locals = map[any]any{}
	}
	value := new(T)
	t.locals[key] = value
	return value, nil
}

// InTransaction reports whether ctx carries a transaction.
func InTransaction(ctx context.Context) bool { return current(ctx) != nil }
