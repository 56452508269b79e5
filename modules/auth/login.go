package auth

import (
	"context"
	"errors"

	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/postgres"
)

var errCredentials = fault.New(fault.Unauthenticated, "invalid_credentials", "No active account matches this email and password.")

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// login takes the same work and gives the same answer for an unknown address, a wrong password and
// an inactive account.
func (m *Module) login(ctx context.Context, in credentials) (signedIn, error) {
	email := trimmed(in.Email)
	account, err := m.store.byEmail(ctx, email)
	if err != nil && !errors.Is(err, postgres.ErrNoRows) {
		return signedIn{}, err
	}
	right, err := m.guess(ctx, account, email, in.Password)
	if err != nil {
		return signedIn{}, err
	}
	if !right {
		if err := m.record(ctx, entry{action: "login_failed", accountID: account.ID}); err != nil {
			return signedIn{}, err
		}
		return signedIn{}, errCredentials
	}
	verified := m.upgrade(ctx, account, in.Password)
	var reply signedIn
	err = m.db.InTx(ctx, func(ctx context.Context) error {
		// While the password was checked the account may have been deactivated, or the password reset.
		if holds, err := m.store.lockVerified(ctx, account.ID, verified); err != nil || !holds {
			return errors.Join(err, errCredentials)
		}
		session, err := m.openSession(ctx, account.ID)
		if err != nil {
			return err
		}
		if err := m.record(asUser(ctx, account.ID), entry{action: "login", accountID: account.ID, detail: detail{"session_id": session.id}}); err != nil {
			return err
		}
		if err := m.bus.Publish(ctx, events.UserLoggedIn{UserID: account.ID, SessionID: session.id}); err != nil {
			return err
		}
		reply, err = m.welcome(ctx, account.ID, session)
		return err
	})
	if err == nil {
		m.knowAddress(ctx, account.ID)
	}
	return reply, err
}
