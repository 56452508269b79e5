package profile

import (
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

// A device has one user, whoever registered its token last: the messages for whoever had it before
// must not appear there.

// errMoved asks for another try: the user was the only one with the token, and lost it before the row
// was locked. Whoever has locked a row must not wait for a token.
var errMoved = errors.New("profile: the token moved meanwhile")

// lock locks a user for a change, and those others who have the token that it brings.
func (m *Module) lock(ctx context.Context, id string, token *string) (u user, others []user, err error) {
	if token == nil {
		u, err = m.store.lock(ctx, id)
		return u, nil, err
	}
	moves, err := m.store.holdToken(ctx, id, *token)
	if err != nil {
		return u, nil, err
	}
	if moves {
		if u, others, err = m.store.lockWithHolders(ctx, id, *token); err != nil || !same(u.PushToken, token) {
			return u, others, err
		}
	}
	u, err = m.store.registerAgain(ctx, id, *token)
	if errors.Is(err, postgres.ErrNoRows) {
		err = errMoved
	}
	return u, others, err
}

// takeFromAll has everybody lose the token of a user who is yet to be added, and for whom it is held.
func (m *Module) takeFromAll(ctx context.Context, id, token string) error {
	_, others, err := m.store.lockWithHolders(ctx, id, token)
	if err != nil && !errors.Is(err, postgres.ErrNoRows) {
		return err
	}
	return m.takeFrom(ctx, others)
}

// takeFrom has users lose the token they have. They are locked, and seldom more than one: several
// come from an import.
func (m *Module) takeFrom(ctx context.Context, users []user) error {
	for _, u := range users {
		u, err := m.store.dropPushToken(ctx, u.ID, *u.PushToken, nil)
		if err != nil {
			return err
		}
		if err := m.tokenLost(ctx, u, "moved"); err != nil {
			return err
		}
	}
	return nil
}

// forgetPushToken answers whether the user has no token now. One that is newer than what the provider
// knows is kept.
func (m *Module) forgetPushToken(ctx context.Context, c *commands.ForgetPushToken) (bool, error) {
	u, err := m.store.dropPushToken(ctx, c.UserID, c.PushToken, c.Before)
	if errors.Is(err, postgres.ErrNoRows) {
		return m.store.hasNoPushToken(ctx, c.UserID)
	}
	if err != nil {
		return false, err
	}
	return true, m.tokenLost(ctx, u, "unregistered")
}

// tokenLost tells everybody of a user who has no token any more.
func (m *Module) tokenLost(ctx context.Context, u user, reason string) error {
	if err := m.bus.Publish(ctx, events.PushTokenChanged{UserID: u.ID, Reason: reason}); err != nil {
		return err
	}
	return m.changed(ctx, u)
}
