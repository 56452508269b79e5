package auth

import (
	"context"
	"errors"
	"time"

	"user-service/platform/identity"
	"user-service/platform/postgres"
)

type store struct{ db *postgres.DB }

// account is who may sign in.
type account struct {
	ID            string `db:"id"`
	Email         string `db:"email"`
	Password      string `db:"password"`
	EmailVerified bool   `db:"email_verified"`
	IsActive      bool   `db:"is_active"`
	IsStaff       bool   `db:"is_staff"`
}

const accountColumns = `id, email, password, email_verified, is_active, is_staff`

// add makes an account with its first session and the token that verifies its address. It gives when: zero,
// when the address is taken, in whatever case.
func (s store) add(ctx context.Context, email, password string, first newSession, verification []byte) (at time.Time, err error) {
	err = s.db.Get(ctx, &at, `
		WITH holder AS (
			INSERT INTO auth.accounts (id, email, password) VALUES ($10, $11, $12)
			ON CONFLICT (lower(email)) DO NOTHING RETURNING id),`+sessionOfHolder+`,
		verification AS (
			INSERT INTO auth.one_time_tokens (account_id, purpose, hash, expires_at, sent_at, counting_since)
			SELECT id, $13, $14, now() + make_interval(secs => $15), now(), now() FROM holder)
		SELECT now() FROM holder`,
		append(first.args(ctx), first.why.accountID, email, password,
			emailVerification, verification, lifetimes[emailVerification].Seconds())...)
	if errors.Is(err, postgres.ErrNoRows) {
		return time.Time{}, nil
	}
	return at, err
}

func (s store) byEmail(ctx context.Context, email string) (account, error) {
	var a account
	err := s.db.Get(ctx, &a, `SELECT `+accountColumns+` FROM auth.accounts WHERE lower(email) = lower($1)`, email)
	return a, err
}

func (s store) byID(ctx context.Context, id string) (account, error) {
	var a account
	err := s.db.Get(ctx, &a, `SELECT `+accountColumns+` FROM auth.accounts WHERE id = $1`, id)
	return a, err
}

func (s store) lock(ctx context.Context, id string) (account, error) {
	var a account
	err := s.db.Get(ctx, &a, `SELECT `+accountColumns+` FROM auth.accounts WHERE id = $1 FOR UPDATE`, id)
	return a, err
}

// upgradePassword replaces the hash of the same password, unless it was changed meanwhile.
func (s store) upgradePassword(ctx context.Context, id, old, upgraded string) (replaced bool, err error) {
	n, err := s.db.Exec(ctx, `UPDATE auth.accounts SET password = $3 WHERE id = $1 AND password = $2`, id, old, upgraded)
	return n == 1, err
}

func (s store) isStaff(ctx context.Context, id string) (staff bool, err error) {
	err = s.db.Get(ctx, &staff, `SELECT coalesce((SELECT is_staff AND is_active FROM auth.accounts WHERE id = $1), false)`, id)
	return staff, err
}

// mustBeActive refuses who has no account, or one that is not active.
func (s store) mustBeActive(ctx context.Context, id string) error {
	var active bool
	err := s.db.Get(ctx, &active, `SELECT is_active FROM auth.accounts WHERE id = $1`, id)
	if err == nil && !active {
		return identity.ErrTokenInvalid
	}
	return orTokenInvalid(err)
}

// setActive reports false when nothing changed, also when there is no such account.
func (s store) setActive(ctx context.Context, id string, active bool) (changed bool, err error) {
	n, err := s.db.Exec(ctx, `
		UPDATE auth.accounts SET is_active = $2, updated_at = now() WHERE id = $1 AND is_active <> $2`, id, active)
	return n == 1, err
}

func (s store) setStaff(ctx context.Context, id string, staff bool) error {
	_, err := s.db.Exec(ctx, `UPDATE auth.accounts SET is_staff = $2, updated_at = now() WHERE id = $1`, id, staff)
	return err
}

func (s store) setEmailVerified(ctx context.Context, id string) error {
	_, err := s.db.Exec(ctx, `UPDATE auth.accounts SET email_verified = true, updated_at = now() WHERE id = $1`, id)
	return err
}

func (s store) setPassword(ctx context.Context, id, hash string) error {
	_, err := s.db.Exec(ctx, `UPDATE auth.accounts SET password = $2, updated_at = now() WHERE id = $1`, id, hash)
	return err
}
