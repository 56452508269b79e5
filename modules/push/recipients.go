package push

import (
	"context"
	"encoding/json"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

// recipient is what push knows of a user, told by the other modules.
type recipient struct {
	PushToken   *string `db:"push_token"`
	PushAllowed bool    `db:"push_allowed"`
	IsActive    bool    `db:"is_active"`
}

// unreachable is the reason why a user gets no push message, "" when there is none.
func (r recipient) unreachable() string {
	switch {
	case !r.IsActive:
		return "account_inactive"
	case !r.PushAllowed:
		return "push_disabled"
	case r.PushToken == nil:
		return "no_push_token"
	}
	return ""
}

// update runs a statement that changes as many recipients.
func (m *Module) update(ctx context.Context, recipients int, statement string, args ...any) error {
	changed, err := m.db.Exec(ctx, statement, args...)
	if err == nil && changed < int64(recipients) {
		err = postgres.ErrNoRows
	}
	return err
}

func (m *Module) addRecipients(ctx context.Context, c *commands.AddRecipients) error {
	rows, err := json.Marshal(c.Users)
	if err != nil {
		return err
	}
	_, err = m.db.Exec(ctx, `
		INSERT INTO push.recipients (user_id, push_token, push_allowed, is_active)
		SELECT id, push_token, (preferences->>'push')::boolean, is_active
		FROM json_to_recordset($1) AS u (id uuid, push_token text, preferences json, is_active boolean)`, rows)
	return err
}

// userRegistered leaves a recipient alone who came complete, by AddRecipients.
func (m *Module) userRegistered(ctx context.Context, e *events.UserRegistered) error {
	_, err := m.db.Exec(ctx, `
		INSERT INTO push.recipients (user_id, push_token, push_allowed) VALUES ($1, $2, $3) ON CONFLICT (user_id) DO NOTHING`,
		e.UserID, e.PushToken, e.Preferences.Push)
	return err
}

func (m *Module) userDeactivated(ctx context.Context, e *events.UserDeactivated) error {
	return m.update(ctx, 1, `UPDATE push.recipients SET is_active = false WHERE user_id = $1`, e.UserID)
}

func (m *Module) userReactivated(ctx context.Context, e *events.UserReactivated) error {
	return m.update(ctx, 1, `UPDATE push.recipients SET is_active = true WHERE user_id = $1`, e.UserID)
}

func (m *Module) pushTokenChanged(ctx context.Context, e *events.PushTokenChanged) error {
	return m.update(ctx, 1, `UPDATE push.recipients SET push_token = $2 WHERE user_id = $1`, e.UserID, e.PushToken)
}

// preferencesChanged goes through the users in the order of their ids: two that did not could each hold
// what the other waits for. For one user, as there is mostly, the statement for many would take twice as long.
func (m *Module) preferencesChanged(ctx context.Context, all []*events.PreferencesChanged) error {
	if len(all) == 1 {
		return m.update(ctx, 1, `UPDATE push.recipients SET push_allowed = $2 WHERE user_id = $1`, all[0].UserID, all[0].Push)
	}
	told, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return m.update(ctx, len(all), `
		WITH told AS MATERIALIZED (
			SELECT * FROM json_to_recordset($1) AS t (user_id uuid, push boolean, few text)
			WHERE `+postgres.Few+` ORDER BY user_id),
		locked AS MATERIALIZED (
			SELECT of.user_id AS of, told.push AS push_now
			FROM told, LATERAL (SELECT user_id FROM push.recipients WHERE user_id = told.user_id FOR UPDATE) AS of)
		UPDATE push.recipients SET push_allowed = push_now FROM locked WHERE user_id = of`, told)
}
