package profile

import (
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/postgres"
)

// What sibling services ask, CONTRACT "Routes" with auth S.

type userPath struct {
	ID string `path:"id"`
}

func (m *Module) showUser(ctx context.Context, in userPath) (commands.User, error) {
	u, err := m.read(ctx, in.ID)
	if errors.Is(err, postgres.ErrNoRows) {
		err = fault.New(fault.NotFound, "not_found", "There is no such user.")
	}
	return u, err
}

type contactQuery struct {
	ID   string `path:"id"`
	Type string `query:"type"`
}

type contact struct {
	UserID             string  `json:"user_id"`
	Contact            *string `json:"contact"` // null: the user has no device token
	NotificationType   string  `json:"notification_type"`
	PreferencesEnabled bool    `json:"preferences_enabled"` // also false for an account that is not active
}

func (m *Module) showContact(ctx context.Context, in contactQuery) (contact, error) {
	if in.Type != "email" && in.Type != "push" {
		return contact{}, fault.Fields{"type": {"Must be email or push."}}.Err()
	}
	u, err := m.showUser(ctx, userPath{in.ID})
	if err != nil {
		return contact{}, err
	}
	if in.Type == "email" {
		return contact{u.ID, &u.Email, in.Type, u.IsActive && u.Preferences.Email}, nil
	}
	return contact{u.ID, u.PushToken, in.Type, u.IsActive && u.Preferences.Push}, nil
}

type pushToken struct {
	UserID    string  `json:"user_id"`
	Token     *string `json:"token"`
	PushToken *string `json:"push_token"` // the same
}

func (m *Module) showPushToken(ctx context.Context, in userPath) (pushToken, error) {
	u, err := m.showUser(ctx, in)
	return pushToken{u.ID, u.PushToken, u.PushToken}, err
}
