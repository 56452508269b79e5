package preferences

import (
	"context"
	"encoding/json"

	"user-service/messaging/commands"
	"user-service/platform/postgres"
)

type store struct{ db *postgres.DB }

// kept is what the cache holds of a row.
type kept struct {
	Email    bool `db:"email" json:"email"`
	Push     bool `db:"push" json:"push"`
	IsActive bool `db:"is_active" json:"is_active"` // of the account
}

type row struct {
	UserID string `db:"user_id" json:"user_id"`
	kept
	Version int64 `db:"version" json:"version"`
}

const columns = `email, push, is_active, version`

func (k kept) view() commands.Preferences { return commands.Preferences{Email: k.Email, Push: k.Push} }

func (s store) add(ctx context.Context, userID string, email, push bool) error {
	_, err := s.db.Exec(ctx, `INSERT INTO preferences.preferences (user_id, email, push) VALUES ($1, $2, $3)`, userID, email, push)
	return err
}

func (s store) addAll(ctx context.Context, users []commands.User) error {
	rows, err := json.Marshal(users)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `
		INSERT INTO preferences.preferences (user_id, email, push, is_active, updated_at)
		SELECT id, (preferences->>'email')::boolean, (preferences->>'push')::boolean, is_active, updated_at
		FROM json_to_recordset($1) AS u (id uuid, preferences json, is_active boolean, updated_at timestamptz)`, string(rows))
	return err
}

func (s store) byUser(ctx context.Context, userID string) (row, error) {
	return s.one(ctx, `SELECT `+columns+` FROM preferences.preferences WHERE user_id = $1`, userID)
}

// lock gives the preferences of users, those there are, and keeps them until the transaction ends. It goes
// through them in the order of their ids: two that did not could each hold what the other waits for. For
// one of many that somebody else keeps it does not wait long, since all the others wait with it.
func (s store) lock(ctx context.Context, users []string) (rows []row, err error) {
	patience := "10s"
	if len(users) > 1 {
		patience = "1s"
	}
	asked, err := json.Marshal(users)
	if err != nil {
		return nil, err
	}
	err = s.db.Select(ctx, &rows, `
		WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $2, true)),
		asked AS MATERIALIZED (SELECT id::uuid FROM patience, json_array_elements_text($1) AS id ORDER BY id)
		SELECT p.* FROM asked, LATERAL (
			SELECT user_id, `+columns+` FROM preferences.preferences WHERE user_id = asked.id FOR UPDATE) AS p`, string(asked), patience)
	return rows, err
}

// update writes rows that are locked.
func (s store) update(ctx context.Context, rows []row) error {
	changed, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `
		UPDATE preferences.preferences AS p SET email = c.email, push = c.push, version = c.version, updated_at = now()
		FROM json_to_recordset($1) AS c (user_id uuid, email boolean, push boolean, version bigint)
		WHERE p.user_id = c.user_id`, string(changed))
	return err
}

func (s store) setActive(ctx context.Context, userID string, active bool) (row, error) {
	return s.one(ctx, `
		UPDATE preferences.preferences SET is_active = $2, version = version + 1, updated_at = now()
		WHERE user_id = $1 RETURNING `+columns, userID, active)
}

func (s store) one(ctx context.Context, query string, args ...any) (row, error) {
	var r row
	err := s.db.Get(ctx, &r, query, args...)
	return r, err
}
