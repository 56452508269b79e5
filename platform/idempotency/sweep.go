package idempotency

import (
	"context"
	"log/slog"
	"time"
)

const (
	sweepEvery = time.Minute
	sweepBatch = 5_000 // rows of one statement, so that none holds locks for long
)

// Run removes what has been kept long enough, until ctx ends.
func (s *Store) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx, sweepBatch); err != nil && ctx.Err() == nil {
			log.Warn("kept replies not removed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Store) sweep(ctx context.Context, batch int64) error {
	for removed := batch; removed == batch; {
		var err error
		removed, err = s.db.Exec(ctx, `
			DELETE FROM idempotency.requests WHERE key = ANY (ARRAY(
				SELECT key FROM idempotency.requests WHERE expires_at < clock_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`, batch)
		if err != nil {
			return err
		}
	}
	return nil
}
