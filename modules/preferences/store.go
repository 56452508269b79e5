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
	kept
	Version int64 `db:"version"`
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

// change fulfils the wishes of an active user and gives what was before and what is now, which are the same
// when nothing is to be changed. The row is locked first, so that before is what the change was made of.
func (s store) change(ctx context.Context, userID string, wishes patch) (before, now row, err error) {
	var rows []row
	err = s.db.Select(ctx, &rows, `
		WITH before AS MATERIALIZED (SELECT `+columns+` FROM preferences.preferences WHERE user_id = $1 FOR UPDATE),
		     wished AS (SELECT coalesce($2, email) AS email, coalesce($3, push) AS push FROM before),
		     changed AS (
			UPDATE preferences.preferences AS p SET email = w.email, push = w.push, version = p.version + 1, updated_at = now()
			FROM before b, wished w
			WHERE p.user_id = $1 AND b.is_active AND (w.email, w.push) <> (b.email, b.push)
			RETURNING p.email, p.push, p.is_active, p.version)
		SELECT `+columns+` FROM before UNION ALL SELECT `+columns+` FROM changed ORDER BY version`, userID, wishes.Email, wishes.Push)
	if err == nil && len(rows) == 0 {
		err = postgres.ErrNoRows
	}
	if err != nil {
		return before, now, err
	}
	return rows[0], rows[len(rows)-1], nil
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
