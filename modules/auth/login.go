package auth

import (
	"context"
	"errors"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

var errCredentials = fault.New(fault.Unauthenticated, "invalid_credentials", "No active account matches this email and password.")

type credentials struct {
	Email    string `json:"email" doc:"Address of e-mail; its case does not matter." format:"email" example:"ada@example.com"`
	Password string `json:"password" doc:"The password of the account." format:"password" example:"analytical engine"`
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
		if fault.From(err).Kind == fault.RateLimited {
			err = errors.Join(m.record(ctx, entry{action: "login_refused", accountID: account.ID}), err)
		}
		return signedIn{}, err
	}
	if !right {
		if err := m.record(ctx, entry{action: "login_failed", accountID: account.ID}); err != nil {
			return signedIn{}, err
		}
		return signedIn{}, errCredentials
	}
	proof := m.upgrade(ctx, account, in.Password)
	user, err := messaging.Ask[commands.User](ctx, m.bus, commands.DescribeUser{UserID: account.ID})
	if err != nil {
		return signedIn{}, err
	}
	reply, err := web.InTx(ctx, m.db, func(ctx context.Context) (reply signedIn, err error) {
		session, err := m.openSession(ctx, account.ID, proof, "login")
		if errors.Is(err, errNotHeld) { // deactivated, or the password reset, while it was checked
			return reply, errCredentials
		}
		if err != nil {
			return reply, err
		}
		if err := m.bus.Publish(ctx, events.UserLoggedIn{UserID: account.ID, SessionID: session.id}); err != nil {
			return reply, err
		}
		tokens, err := m.tokensFor(account.ID, session) // before the commit: what was committed must not fail
		return signedIn{User: user, tokenPair: tokens}, err
	})
	if err == nil {
		m.knowAddress(ctx, account.ID)
	}
	return reply, err
}
