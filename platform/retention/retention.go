// Package retention removes what has been kept long enough, in batches, so that no statement holds
// locks for long.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"user-service/platform/postgres"
)

// Rule says which rows of a table to remove.
type Rule struct {
	What      string // for the log
	Statement string // a DELETE of $1 rows at the most
	Args      []any  // from $2 on
}

// batch is how many rows one statement removes.
const batch = 5_000

// Run applies the rules every so often until ctx ends. What fails is tried again the next time.
func Run(ctx context.Context, db *postgres.DB, log *slog.Logger, every time.Duration, rules ...Rule) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := Apply(ctx, db, batch, rules...); err != nil && ctx.Err() == nil {
			log.Warn("what is old was not removed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Apply removes all that there is to remove now, so many rows at a time.
func Apply(ctx context.Context, db *postgres.DB, atATime int64, rules ...Rule) error {
	var errs []error
	for _, rule := range rules {
		if err := rule.apply(ctx, db, atATime); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", rule.What, err))
		}
	}
	return errors.Join(errs...)
}

func (r Rule) apply(ctx context.Context, db *postgres.DB, atATime int64) (err error) {
	args := append([]any{atATime}, r.Args...)
	for removed := atATime; removed == atATime; {
		if removed, err = db.Exec(ctx, r.Statement, args...); err != nil {
			return err
		}
	}
	return nil
}
