package auth

import (
	"context"

	"user-service/messaging/events"
	"user-service/platform/web"
)

type tokenBody struct {
	Token string `json:"token" doc:"Token from the mail." example:"mTkqLZ0lyj3tWlJrR0h9Zb1yQ1j8cVt0oXw5n7u2k4E"`
}

func (m *Module) verifyEmail(ctx context.Context, in tokenBody) (web.None, error) {
	return web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		a, err := m.useToken(ctx, in.Token, emailVerification)
		if err != nil {
			return none, err
		}
		return none, m.noteVerified(ctx, a)
	})
}

// noteVerified is for whoever has shown to read the account's mail.
func (m *Module) noteVerified(ctx context.Context, a account) error {
	if a.EmailVerified {
		return nil
	}
	if err := m.store.setEmailVerified(ctx, a.ID); err != nil {
		return err
	}
	if err := m.record(ctx, entry{action: "email_verified", accountID: a.ID}); err != nil {
		return err
	}
	return m.bus.Publish(ctx, events.EmailVerified{UserID: a.ID, Email: a.Email})
}

func (m *Module) resendVerification(ctx context.Context, in addressed) (web.None, error) {
	return m.wish(ctx, in, emailVerification)
}
