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
	UserID string `db:"user_id"`
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
		FROM json_to_recordset($1) AS u (id uuid, preferences json, is_active boolean, updated_at timestamptz)`, rows)
	return err
}

func (s store) byUser(ctx context.Context, userID string) (row, error) {
	return s.one(ctx, `SELECT `+columns+` FROM preferences.preferences WHERE user_id = $1`, userID)
}

// change fulfils the wishes of active users and gives what was before, of those there are, who stay locked
// until the transaction ends. It goes through them in the order of their ids: two that did not could each
// hold what the other waits for. For a row that somebody else keeps it does not wait long: others may wait
// with it.
func (s store) change(ctx context.Context, wishes map[string]wish) (before []row, err error) {
	if len(wishes) == 1 {
		for userID, w := range wishes {
			return s.changeOne(ctx, userID, w)
		}
	}
	type given struct {
		UserID string `json:"user_id"`
		patch
	}
	asked := make([]given, 0, len(wishes))
	for userID, w := range wishes {
		asked = append(asked, given{userID, w.patch})
	}
	encoded, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	err = s.db.Select(ctx, &before, `
		WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '1s', true)),
		asked AS MATERIALIZED (
			SELECT a.* FROM patience, json_to_recordset($1) AS a (user_id uuid, email boolean, push boolean, few text)
			WHERE `+postgres.Few+` ORDER BY user_id),
		before AS MATERIALIZED (
			SELECT p.*, coalesce(asked.email, p.email) AS email_now, coalesce(asked.push, p.push) AS push_now
			FROM asked, LATERAL (
				SELECT user_id, `+columns+` FROM preferences.preferences WHERE user_id = asked.user_id FOR UPDATE) AS p),
		changed AS (
			UPDATE preferences.preferences AS p SET email = email_now, push = push_now, version = p.version + 1, updated_at = now()
			FROM before AS b WHERE p.user_id = b.user_id AND b.is_active AND (email_now, push_now) <> (b.email, b.push))
		SELECT user_id, `+columns+` FROM before`, encoded)
	return before, err
}

// changeOne is change for one user, as there is mostly: that for many would take three times as long.
func (s store) changeOne(ctx context.Context, userID string, w wish) (before []row, err error) {
	err = s.db.Select(ctx, &before, `
		WITH before AS MATERIALIZED (
			SELECT user_id, `+columns+` FROM preferences.preferences
			WHERE user_id = $1 AND (SELECT set_config('lock_timeout', '1s', true)) IS NOT NULL FOR UPDATE),
		changed AS (
			UPDATE preferences.preferences AS p SET email = coalesce($2, b.email), push = coalesce($3, b.push),
				version = p.version + 1, updated_at = now()
			FROM before AS b
			WHERE p.user_id = $1 AND b.is_active AND (coalesce($2, b.email), coalesce($3, b.push)) <> (b.email, b.push))
		SELECT user_id, `+columns+` FROM before`, userID, w.Email, w.Push)
	return before, err
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
