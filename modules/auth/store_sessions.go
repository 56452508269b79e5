package auth

import (
	"context"
	"time"

	"user-service/platform/correlation"
	"user-service/platform/identity"
	"user-service/platform/postgres"
)

// newSession is a session that is to be opened.
type newSession struct {
	id       string
	token    []byte // hash of its first refresh token
	why      entry  // its line in the audit log, if it has an action
	lifetime time.Duration
}

// sessionOfHolder opens a newSession for the account of holder, a part of the statement before it. It is a
// part itself: every login and registration waits for it. What comes after its arguments begins with $10.
const sessionOfHolder = `
	session AS (
		INSERT INTO auth.sessions (id, account_id, address, user_agent, expires_at)
		SELECT $1, id, $2, $3, now() + make_interval(secs => $4) FROM holder RETURNING id, account_id),
	token AS (INSERT INTO auth.refresh_tokens (hash, session_id) SELECT $5, id FROM session),
	audited AS (
		INSERT INTO auth.audit_log (action, account_id, actor, address, user_agent, correlation_id, detail)
		SELECT $6, account_id, $7, $2, $3, $8, $9 FROM session WHERE $6 <> '')`

func (n newSession) args(ctx context.Context) []any {
	from := identity.ClientFrom(ctx)
	return []any{
		n.id, from.Address, from.UserAgent, min(n.lifetime, SessionsEnd).Seconds(), n.token,
		n.why.action, actorOf(ctx), correlation.From(ctx).Correlation, n.why.detail.json(),
	}
}

// addSession opens a session if its account is active and proof is its password hash still, which stays so
// until the transaction ends. It gives the open sessions that the account then has beyond keep, the least
// lately used ones, and when the session was opened: zero, when it was not.
func (s store) addSession(ctx context.Context, n newSession, proof string, keep int) (at time.Time, spare []string, err error) {
	var rows []struct {
		At    time.Time `db:"at"`
		Spare *string   `db:"spare"`
	}
	err = s.db.Select(ctx, &rows, `
		WITH holder AS (SELECT id FROM auth.accounts WHERE id = $10 AND is_active AND password = $11 FOR SHARE),`+sessionOfHolder+`
		SELECT now() AS at, older.id AS spare FROM holder LEFT JOIN LATERAL (
			SELECT id FROM auth.sessions
			WHERE account_id = holder.id AND revoked_at IS NULL AND expires_at > now()
			ORDER BY last_used_at DESC, id OFFSET $12) older ON true`,
		append(n.args(ctx), n.why.accountID, proof, keep-1)...)
	for _, row := range rows {
		at = row.At
		if row.Spare != nil {
			spare = append(spare, *row.Spare)
		}
	}
	return at, spare, err
}

// presented is a refresh token as it was issued, with the state of its session by the clock of the
// database: all instances agree on it.
type presented struct {
	SessionID     string    `db:"session_id"`
	AccountID     string    `db:"account_id"`
	SuccessorSalt []byte    `db:"successor_salt"` // nil: not rotated yet
	InGrace       bool      `db:"in_grace"`
	Expired       bool      `db:"expired"`
	Revoked       bool      `db:"revoked"`
	IsActive      bool      `db:"is_active"`
	Now           time.Time `db:"now"`
}

// lockPresented finds a refresh token and locks its session: rotations of one session queue up.
// A token in grace is the immediate parent of one that has not been rotated itself.
func (s store) lockPresented(ctx context.Context, hash []byte, grace time.Duration) (presented, error) {
	var sessionID string
	var p presented
	// Locked by a statement of its own: the next one must see what the previous holder committed.
	err := s.db.Get(ctx, &sessionID, `
		SELECT s.id FROM auth.sessions s
		WHERE s.id = (SELECT session_id FROM auth.refresh_tokens WHERE hash = $1) FOR UPDATE`, hash)
	if err != nil {
		return p, err
	}
	err = s.db.Get(ctx, &p, `
		SELECT t.session_id, s.account_id, t.successor_salt,
		       coalesce(t.rotated_at > now() - make_interval(secs => $2) AND t.generation = s.generation - 1, false) AS in_grace,
		       s.expires_at < now() AS expired, s.revoked_at IS NOT NULL AS revoked, a.is_active, now() AS now
		FROM auth.refresh_tokens t JOIN auth.sessions s ON s.id = t.session_id JOIN auth.accounts a ON a.id = s.account_id
		WHERE t.hash = $1`, hash, grace.Seconds())
	return p, err
}

// rotate makes successor the session's current token.
func (s store) rotate(ctx context.Context, hash, salt, successor []byte, sessionID string, lifetime time.Duration) error {
	_, err := s.db.Exec(ctx, `
		WITH used AS (UPDATE auth.refresh_tokens SET rotated_at = now(), successor_salt = $2 WHERE hash = $1),
		     session AS (
			UPDATE auth.sessions SET generation = generation + 1, last_used_at = now(),
				expires_at = least(now() + make_interval(secs => $5), created_at + make_interval(secs => $6))
			WHERE id = $4 RETURNING generation)
		INSERT INTO auth.refresh_tokens (hash, session_id, generation) SELECT $3, $4, generation FROM session`,
		hash, salt, successor, sessionID, lifetime.Seconds(), SessionsEnd.Seconds())
	return err
}

// openSessions are those that have not ended, the latest used first.
func (s store) openSessions(ctx context.Context, accountID string) ([]sessionView, error) {
	sessions := []sessionView{}
	err := s.db.Select(ctx, &sessions, `
		SELECT id, address, user_agent, created_at, last_used_at, expires_at FROM auth.sessions
		WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > now() ORDER BY last_used_at DESC, id`, accountID)
	return sessions, err
}

// revokeSessions gives those of ids that were sessions of the account and had not been ended. A session
// that has expired is ended too: its last access token may not have.
func (s store) revokeSessions(ctx context.Context, accountID string, ids []string) (ended []string, err error) {
	err = s.db.Select(ctx, &ended, `
		UPDATE auth.sessions SET revoked_at = now()
		WHERE account_id = $1 AND id = ANY ($2::uuid[]) AND revoked_at IS NULL RETURNING id`,
		accountID, postgres.Array(ids))
	return ended, err
}

// noSession is kept when none is.
const noSession = ""

// revokeOtherSessions gives the ids of all but keep that had not been ended.
func (s store) revokeOtherSessions(ctx context.Context, accountID, keep string) (ended []string, err error) {
	err = s.db.Select(ctx, &ended, `
		UPDATE auth.sessions SET revoked_at = now()
		WHERE account_id = $1 AND id::text <> $2 AND revoked_at IS NULL RETURNING id`, accountID, keep)
	return ended, err
}
