package auth

import (
	"context"
	"time"

	"user-service/platform/postgres"
)

type store struct{ db *postgres.DB }

// account is who may sign in.
type account struct {
	ID       string `db:"id"`
	Password string `db:"password"`
	IsActive bool   `db:"is_active"`
}

// add reports false when the address is taken, in whatever case.
func (s store) add(ctx context.Context, id, email, password string) (added bool, err error) {
	n, err := s.db.Exec(ctx, `
		INSERT INTO auth.accounts (id, email, password) VALUES ($1, $2, $3)
		ON CONFLICT (lower(email)) DO NOTHING`, id, email, password)
	return n == 1, err
}

func (s store) byEmail(ctx context.Context, email string) (account, error) {
	var a account
	err := s.db.Get(ctx, &a, `SELECT id, password, is_active FROM auth.accounts WHERE lower(email) = lower($1)`, email)
	return a, err
}

// lockActive reports whether the account is active and keeps it so until the transaction ends.
func (s store) lockActive(ctx context.Context, id string) (active bool, err error) {
	err = s.db.Get(ctx, &active, `SELECT is_active FROM auth.accounts WHERE id = $1 FOR SHARE`, id)
	return active, err
}

func (s store) isStaff(ctx context.Context, id string) (staff bool, err error) {
	err = s.db.Get(ctx, &staff, `SELECT coalesce((SELECT is_staff AND is_active FROM auth.accounts WHERE id = $1), false)`, id)
	return staff, err
}

// deactivate reports false when there is no such active account.
func (s store) deactivate(ctx context.Context, id string) (changed bool, err error) {
	n, err := s.db.Exec(ctx, `
		UPDATE auth.accounts SET is_active = false, updated_at = now() WHERE id = $1 AND is_active`, id)
	return n == 1, err
}

func (s store) addSession(ctx context.Context, id, accountID string, lifetime time.Duration) error {
	_, err := s.db.Exec(ctx, `
		INSERT INTO auth.sessions (id, account_id, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3))`,
		id, accountID, lifetime.Seconds())
	return err
}

func (s store) addRefreshToken(ctx context.Context, hash []byte, sessionID string) error {
	_, err := s.db.Exec(ctx, `INSERT INTO auth.refresh_tokens (hash, session_id) VALUES ($1, $2)`, hash, sessionID)
	return err
}

// presented is a refresh token as it was issued, with the state of its session by the clock of the
// database: all instances agree on it.
type presented struct {
	SessionID     string `db:"session_id"`
	AccountID     string `db:"account_id"`
	SuccessorSalt []byte `db:"successor_salt"` // nil: not rotated yet
	InGrace       bool   `db:"in_grace"`
	Expired       bool   `db:"expired"`
	Revoked       bool   `db:"revoked"`
	IsActive      bool   `db:"is_active"`
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
		       s.expires_at < now() AS expired, s.revoked_at IS NOT NULL AS revoked, a.is_active
		FROM auth.refresh_tokens t JOIN auth.sessions s ON s.id = t.session_id JOIN auth.accounts a ON a.id = s.account_id
		WHERE t.hash = $1`, hash, grace.Seconds())
	return p, err
}

// rotate makes successor the session's current token.
func (s store) rotate(ctx context.Context, hash, salt, successor []byte, sessionID string, lifetime time.Duration) error {
	_, err := s.db.Exec(ctx, `
		WITH used AS (UPDATE auth.refresh_tokens SET rotated_at = now(), successor_salt = $2 WHERE hash = $1),
		     session AS (
			UPDATE auth.sessions SET generation = generation + 1, expires_at = now() + make_interval(secs => $5)
			WHERE id = $4 RETURNING generation)
		INSERT INTO auth.refresh_tokens (hash, session_id, generation) SELECT $3, $4, generation FROM session`,
		hash, salt, successor, sessionID, lifetime.Seconds())
	return err
}

// revokeSession ends one session; false when it had ended already.
func (s store) revokeSession(ctx context.Context, id string) (revoked bool, err error) {
	n, err := s.db.Exec(ctx, `UPDATE auth.sessions SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL`, id)
	return n == 1, err
}

// revokeAllSessions gives the ids of those that had not ended yet.
func (s store) revokeAllSessions(ctx context.Context, accountID string) (ended []string, err error) {
	err = s.db.Select(ctx, &ended, `
		UPDATE auth.sessions SET revoked_at = now() WHERE account_id = $1 AND revoked_at IS NULL RETURNING id`, accountID)
	return ended, err
}
