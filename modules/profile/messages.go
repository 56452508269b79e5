package profile

import (
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

func (m *Module) create(ctx context.Context, c *commands.CreateProfile) (commands.User, error) {
	if c.PushToken != nil {
		if _, err := m.store.holdToken(ctx, c.UserID, *c.PushToken); err != nil {
			return commands.User{}, err
		}
	}
	u, err := m.store.add(ctx, c)
	for errors.Is(err, postgres.ErrNoRows) { // again only after an import, which holds no token
		if err := m.takeFromAll(ctx, c.UserID, *c.PushToken); err != nil {
			return commands.User{}, err
		}
		u, err = m.store.add(ctx, c)
	}
	return u.view(), err
}

func (m *Module) addAll(ctx context.Context, c *commands.AddProfiles) error {
	return m.store.addAll(ctx, c.Users)
}

func (m *Module) describe(ctx context.Context, c *commands.DescribeUser) (commands.User, error) {
	u, err := m.read(ctx, c.UserID)
	return u, ofNobody(err)
}

func (m *Module) preferencesChanged(ctx context.Context, all []*events.PreferencesChanged) error {
	users, err := m.store.setChannels(ctx, all)
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := m.changed(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (m *Module) userDeactivated(ctx context.Context, e *events.UserDeactivated) error {
	return m.note(ctx, "is_active", e.UserID, false)
}

func (m *Module) userReactivated(ctx context.Context, e *events.UserReactivated) error {
	return m.note(ctx, "is_active", e.UserID, true)
}

func (m *Module) emailVerified(ctx context.Context, e *events.EmailVerified) error {
	return m.note(ctx, "email_verified", e.UserID, true)
}

func (m *Module) setStaff(ctx context.Context, c *commands.SetStaff) error {
	return m.note(ctx, "is_staff", c.UserID, c.IsStaff)
}

// note keeps what auth says of a user.
func (m *Module) note(ctx context.Context, flag, userID string, value bool) error {
	u, err := m.store.setFlag(ctx, flag, userID, value)
	if err != nil {
		return err
	}
	return m.changed(ctx, u)
}
