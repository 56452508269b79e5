package profile

import (
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
)

// What sibling services ask, CONTRACT "Routes" with auth S.

type userPath struct {
	ID string `path:"id"`
}

func (m *Module) showUser(ctx context.Context, in userPath) (commands.User, error) {
	u, err := m.read(ctx, in.ID)
	if errors.Is(err, postgres.ErrNoRows) {
		err = identity.ErrNoSuchUser
	}
	return u, err
}

type contactQuery struct {
	ID   string `path:"id"`
	Type string `query:"type" required:"true" doc:"Which way to reach the user." enum:"email,push" example:"push"`
}

type contact struct {
	UserID             string  `json:"user_id" doc:"Id of the user." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	Contact            *string `json:"contact" doc:"Address of e-mail, or device token; null: none." example:"device-1"` // null: the user has no device token
	NotificationType   string  `json:"notification_type" doc:"The channel that was asked for." enum:"email,push" example:"push"`
	PreferencesEnabled bool    `json:"preferences_enabled" doc:"Whether the user may be reached this way." example:"true"` // also false for an account that is not active
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
	UserID    string  `json:"user_id" doc:"Id of the user." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	Token     *string `json:"token" doc:"Token of the user's device; null: none." example:"device-1"`
	PushToken *string `json:"push_token" doc:"Token of the user's device; null: none." example:"device-1"` // the same
}

func (m *Module) showPushToken(ctx context.Context, in userPath) (pushToken, error) {
	u, err := m.showUser(ctx, in)
	return pushToken{u.ID, u.PushToken, u.PushToken}, err
}
