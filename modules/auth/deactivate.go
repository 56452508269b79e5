package auth

import (
	"context"

	"user-service/messaging/commands"
	"user-service/messaging/events"
)

// deactivate ends an account softly, and every session of it at once.
func (m *Module) deactivate(ctx context.Context, c *commands.DeactivateAccount) error {
	changed, err := m.store.deactivate(ctx, c.UserID)
	if err != nil || !changed {
		return err
	}
	ended, err := m.store.revokeAllSessions(ctx, c.UserID)
	if err != nil {
		return err
	}
	if err := m.revocations.add(ctx, ended, m.settings.AccessLifetime); err != nil {
		return err
	}
	if err := m.bus.Publish(ctx, events.UserDeactivated{UserID: c.UserID, By: c.By}); err != nil {
		return err
	}
	return m.bus.Publish(ctx, events.SessionRevoked{UserID: c.UserID, Reason: "deactivated"})
}
