package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"user-service/modules/auth"
)

type importDjangoCommand struct {
	DSN    string `name:"dsn" required:"" placeholder:"URL" help:"Where the original's tables users and user_preferences are: postgres://user:password@host:5432/name. They are only read. The password may come from PGPASSWORD or ~/.pgpass instead."`
	Events bool   `help:"Tell the world of each new user (user.registered)."`
	Batch  int    `default:"500" help:"Users to a transaction, from 1 to 10000."`
}

// Validate is called by kong.
func (c importDjangoCommand) Validate() error {
	if c.Batch < 1 || c.Batch > 10000 {
		return fmt.Errorf("--batch is %d; accepted: 1 to 10000", c.Batch)
	}
	return nil
}

// Run imports batch by batch. What is committed stays, however it ends: to go on is to run it again.
func (c importDjangoCommand) Run(ctx context.Context) error {
	return withModules(ctx, func(k *core) error {
		source, err := openDjango(ctx, c.DSN)
		if err != nil {
			return fmt.Errorf("%w (the database is that of --dsn)", err)
		}
		defer source.Close()
		if source.lacks != "" {
			fmt.Fprintln(os.Stderr, "not found in the source, so taken as usual:", source.lacks)
		}
		done := newTally(source.total)
		err = c.copy(ctx, source, k.auth, done)
		done.print(os.Stdout)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fmt.Errorf("stopped after %d of %d users, run it again to go on: %w", done.seen, done.total, err)
	})
}

func (c importDjangoCommand) copy(ctx context.Context, source *djangoSource, target *auth.Module, done *tally) error {
	shown := newProgress(os.Stderr, source.total, "importing", "users")
	defer shown.end()
	now := time.Now()
	for {
		users, err := source.next(ctx, c.Batch)
		if err != nil {
			return fmt.Errorf("read users: %w", err)
		}
		if len(users) == 0 {
			return nil
		}
		batch := newBatch(users, now)
		if batch.outcome, err = target.Import(ctx, batch.accounts, c.Events); err != nil {
			return fmt.Errorf("import users: %w", err)
		}
		done.add(batch)
		shown.at(done.seen)
	}
}
