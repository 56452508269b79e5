package auth

import (
	"context"
	"errors"
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
	// A session can be ended as long as an access token of it may be about.
	sessionsKept := m.settings.AccessLifetime + 24*time.Hour
	return errors.Join(
		m.remove(ctx, batch, auditKept, `
			DELETE FROM auth.audit_log WHERE id = ANY (ARRAY(
				SELECT id FROM auth.audit_log WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2))`),
		m.remove(ctx, batch, sessionsKept, `
			DELETE FROM auth.sessions WHERE id = ANY (ARRAY(
				SELECT id FROM auth.sessions WHERE expires_at < now() - make_interval(secs => $1) ORDER BY expires_at LIMIT $2))`),
	)
}

func (m *Module) remove(ctx context.Context, batch int64, kept time.Duration, statement string) error {
	for removed := batch; removed == batch; {
		var err error
		if removed, err = m.db.Exec(ctx, statement, kept.Seconds(), batch); err != nil {
			return err
		}
	}
	return nil
}
