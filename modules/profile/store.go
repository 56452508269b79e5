package profile

import (
	"context"
	"encoding/json"
	"time"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

type store struct{ db *postgres.DB }

// user is one row, with its version for the cache.
type user struct {
	ID            string    `db:"id"`
	Name          string    `db:"name"`
	PushToken     *string   `db:"push_token"`
	Email         string    `db:"email"`
	EmailVerified bool      `db:"email_verified"`
	EmailAllowed  bool      `db:"email_allowed"`
	PushAllowed   bool      `db:"push_allowed"`
	IsActive      bool      `db:"is_active"`
	IsStaff       bool      `db:"is_staff"`
	Version       int64     `db:"version"`
	CreatedAt     time.Time `db:"created_at"`
	UpdatedAt     time.Time `db:"updated_at"`
}

const columns = `id, name, push_token, email, email_verified, email_allowed, push_allowed, is_active, is_staff, version, created_at, updated_at`

// view is the user of the API.
func (u user) view() commands.User {
	return commands.User{
		ID: u.ID, UserID: u.ID, Email: u.Email, Name: u.Name, PushToken: u.PushToken,
		Preferences:   commands.Preferences{Email: u.EmailAllowed, Push: u.PushAllowed},
		EmailVerified: u.EmailVerified, IsActive: u.IsActive, IsStaff: u.IsStaff,
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(),
	}
}

// add is ErrNoRows, and does nothing, while somebody else has the user's token.
func (s store) add(ctx context.Context, c *commands.CreateProfile) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `
		INSERT INTO profile.users (id, name, email, push_token, push_token_at, email_allowed, push_allowed)
		SELECT $1, $2, $3, $4, CASE WHEN $4::text IS NOT NULL THEN now() END, $5, $6
		WHERE NOT EXISTS (SELECT FROM profile.users WHERE push_token = $4) RETURNING `+columns,
		c.UserID, c.Name, c.Email, c.PushToken, c.Preferences.Email, c.Preferences.Push)
	return u, err
}

func (s store) addAll(ctx context.Context, users []commands.User) error {
	rows, err := json.Marshal(users)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `
		INSERT INTO profile.users (id, name, push_token, email, email_verified, email_allowed, push_allowed, is_active, is_staff, created_at, updated_at)
		SELECT id, name, push_token, email, email_verified, (preferences->>'email')::boolean, (preferences->>'push')::boolean,
		       is_active, is_staff, created_at, updated_at
		FROM json_to_recordset($1) AS u (
			id uuid, name text, push_token text, email text, email_verified boolean, preferences json,
			is_active boolean, is_staff boolean, created_at timestamptz, updated_at timestamptz)`, rows)
	return err
}

func (s store) byID(ctx context.Context, id string) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `SELECT `+columns+` FROM profile.users WHERE id = $1`, id)
	return u, err
}

func (s store) lock(ctx context.Context, id string) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `SELECT `+columns+` FROM profile.users WHERE id = $1 FOR UPDATE`, id)
	return u, err
}

// update leaves the time of the token's registration alone where the token stays.
func (s store) update(ctx context.Context, id, name string, pushToken *string) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `
		UPDATE profile.users SET name = $2, push_token = $3, version = version + 1, updated_at = now(),
		       push_token_at = CASE WHEN push_token = $3 THEN push_token_at WHEN $3::text IS NOT NULL THEN now() END
		WHERE id = $1 RETURNING `+columns, id, name, pushToken)
	return u, err
}

// setChannels goes through the users in the order of their ids: two that did not could each hold what the
// other waits for. For one user, as there is mostly, the statement for many would take three times as long.
func (s store) setChannels(ctx context.Context, all []*events.PreferencesChanged) (users []user, err error) {
	if len(all) == 1 {
		var u user
		err := s.db.Get(ctx, &u, `
			UPDATE profile.users SET email_allowed = $2, push_allowed = $3, version = version + 1, updated_at = now()
			WHERE id = $1 RETURNING `+columns, all[0].UserID, all[0].Email, all[0].Push)
		return []user{u}, err
	}
	told, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	err = s.db.Select(ctx, &users, `
		WITH told AS MATERIALIZED (
			SELECT * FROM json_to_recordset($1) AS t (user_id uuid, email boolean, push boolean, few text)
			WHERE `+postgres.Few+` ORDER BY user_id),
		locked AS MATERIALIZED (
			SELECT of.id AS of, told.email AS email_now, told.push AS push_now
			FROM told, LATERAL (SELECT id FROM profile.users WHERE id = told.user_id FOR UPDATE) AS of)
		UPDATE profile.users SET email_allowed = email_now, push_allowed = push_now, version = version + 1, updated_at = now()
		FROM locked WHERE id = of RETURNING `+columns, told)
	if err == nil && len(users) < len(all) {
		err = postgres.ErrNoRows
	}
	return users, err
}

// setFlag sets is_active, email_verified or is_staff.
func (s store) setFlag(ctx context.Context, flag, id string, value bool) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `
		UPDATE profile.users SET `+flag+` = $2, version = version + 1, updated_at = now()
		WHERE id = $1 RETURNING `+columns, id, value)
	return u, err
}
