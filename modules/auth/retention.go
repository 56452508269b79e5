package auth

import (
	"context"
	"log/slog"
	"time"
)

const (
	auditKept   = 180 * 24 * time.Hour // how long the record of what happened is kept
	retainEvery = time.Hour
	retainBatch = 5_000 // rows of one statement, so that none holds locks for long
)

// runRetention removes what has been kept long enough, until ctx ends.
func (m *Module) runRetention(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		if err := m.retain(ctx, retainBatch); err != nil && ctx.Err() == nil {
			log.Warn("old records not removed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m *Module) retain(ctx context.Context, batch int64) error {
	for removed := batch; removed == batch; {
		var err error
		removed, err = m.db.Exec(ctx, `
			DELETE FROM auth.audit_log WHERE id = ANY (ARRAY(
				SELECT id FROM auth.audit_log WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2))`,
			auditKept.Seconds(), batch)
		if err != nil {
			return err
		}
	}
	return nil
}
