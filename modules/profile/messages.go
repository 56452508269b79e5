package profile

import (
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

func (m *Module) create(ctx context.Context, c *commands.CreateProfile) error {
	return m.store.add(ctx, c.UserID, c.Name, c.Email, c.PushToken)
}

func (m *Module) describe(ctx context.Context, c *commands.DescribeUser) (commands.User, error) {
	return m.read(ctx, c.UserID)
}

func (m *Module) userRegistered(ctx context.Context, e *events.UserRegistered) error {
	if e.Preferences.Email && e.Preferences.Push {
		return nil // what a new row says by itself
	}
	_, err := m.store.setChannels(ctx, e.UserID, e.Preferences.Email, e.Preferences.Push)
	return err
}

func (m *Module) preferencesChanged(ctx context.Context, e *events.PreferencesChanged) error {
	u, err := m.store.setChannels(ctx, e.UserID, e.Email, e.Push)
	if err != nil {
		return err
	}
	return m.changed(ctx, u)
}

func (m *Module) userDeactivated(ctx context.Context, e *events.UserDeactivated) error {
	u, err := m.store.setInactive(ctx, e.UserID)
	if err != nil {
		return err
	}
	return m.changed(ctx, u)
}

// forgetPushToken does nothing when the user has registered another token since.
func (m *Module) forgetPushToken(ctx context.Context, c *commands.ForgetPushToken) error {
	u, err := m.store.dropPushToken(ctx, c.UserID, c.PushToken)
	if errors.Is(err, postgres.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.bus.Publish(ctx, events.PushTokenChanged{UserID: u.ID, Reason: "unregistered"}); err != nil {
		return err
	}
	return m.changed(ctx, u)
}
