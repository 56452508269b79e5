package auth

import (
	"time"

	"user-service/platform/retention"
)

const (
	auditKept   = 180 * 24 * time.Hour // how long the record of what happened is kept
	retainEvery = time.Hour
)

// retained says what is removed when. A session can be ended as long as an access token of it may be
// about.
func (m *Module) retained() []retention.Rule {
	sessionsKept := m.settings.AccessLifetime + 24*time.Hour
	return []retention.Rule{
		{What: "audit log", Args: []any{auditKept.Seconds()}, Statement: `
			DELETE FROM auth.audit_log WHERE id = ANY (ARRAY(
				SELECT id FROM auth.audit_log WHERE at < now() - make_interval(secs => $2) ORDER BY at LIMIT $1))`},
		{What: "sessions", Args: []any{sessionsKept.Seconds()}, Statement: `
			DELETE FROM auth.sessions WHERE id = ANY (ARRAY(
				SELECT id FROM auth.sessions WHERE expires_at < now() - make_interval(secs => $2) ORDER BY expires_at LIMIT $1))`},
	}
}
