package auth

import (
	"context"

	"user-service/messaging/commands"
	"user-service/messaging/events"
)

func (m *Module) deactivate(ctx context.Context, c *commands.DeactivateAccount) error {
	return m.setActive(ctx, c.UserID, c.By, false)
}

// setActive opens an account again, or ends it softly, with every session of it.
func (m *Module) setActive(ctx context.Context, accountID, by string, active bool) error {
	changed, err := m.store.setActive(ctx, accountID, active)
	if err != nil || !changed {
		return err
	}
	if active {
		if err := m.record(ctx, entry{action: "reactivated", accountID: accountID}); err != nil {
			return err
		}
		return m.bus.Publish(ctx, events.UserReactivated{UserID: accountID, By: by})
	}
	if err := m.record(ctx, entry{action: "deactivated", accountID: accountID}); err != nil {
		return err
	}
	if err := m.store.voidTokens(ctx, accountID); err != nil {
		return err
	}
	if err := m.endAllSessions(ctx, accountID, "deactivated"); err != nil {
		return err
	}
	return m.bus.Publish(ctx, events.UserDeactivated{UserID: accountID, By: by})
}
