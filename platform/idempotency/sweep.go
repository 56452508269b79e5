package idempotency

import (
	"context"
	"log/slog"
	"time"

	"user-service/platform/retention"
)

const sweepEvery = time.Minute

var expired = retention.Rule{What: "replies", Statement: `
	DELETE FROM idempotency.requests WHERE key = ANY (ARRAY(
		SELECT key FROM idempotency.requests WHERE expires_at < clock_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`}

// Run removes what has been kept long enough, until ctx ends.
func (s *Store) Run(ctx context.Context, log *slog.Logger) error {
	return retention.Run(ctx, s.db, log, sweepEvery, expired)
}
