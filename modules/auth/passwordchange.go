package auth

import (
	"context"
	"errors"

	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

type changeBody struct {
	CurrentPassword string `json:"current_password" doc:"The password of now." format:"password" example:"difference engine"`
	Password        string `json:"password" doc:"8 to 128 characters; not common, not all digits, not close to name or e-mail." format:"password" example:"analytical engine"`
	PasswordConfirm string `json:"password_confirm" doc:"The same password again." format:"password" example:"analytical engine"`
}

var errWrongPassword = fault.Fields{"current_password": {"This is not your current password."}}.Err()

// changeOwnPassword ends every session, the one that asks as well: its access token may be known to
// whoever knew the password. The reply holds the tokens of a new one.
func (m *Module) changeOwnPassword(ctx context.Context, in changeBody) (tokenPair, error) {
	principal, _ := identity.From(ctx)
	before, err := m.store.byID(ctx, principal.UserID)
	if err != nil {
		return tokenPair{}, orTokenInvalid(err)
	}
	right, err := m.guess(ctx, before, "", in.CurrentPassword)
	if err != nil {
		return tokenPair{}, err
	}
	if !right {
		if err := m.record(ctx, entry{action: "password_change_failed", accountID: before.ID}); err != nil {
			return tokenPair{}, err
		}
		return tokenPair{}, errWrongPassword
	}
	if in.Password == in.CurrentPassword {
		return tokenPair{}, fault.Fields{"password": {"The new password must be another one."}}.Err()
	}
	hash, err := m.newPassword(ctx, before.ID, in.Password, in.PasswordConfirm)
	if err != nil {
		return tokenPair{}, err
	}
	return web.InTx(ctx, m.db, func(ctx context.Context) (reply tokenPair, err error) {
		now, err := m.store.lock(ctx, before.ID)
		if err != nil {
			return reply, err
		}
		if !now.IsActive {
			return reply, identity.ErrTokenInvalid
		}
		if now.Password != before.Password { // somebody was faster, with the same current password
			return reply, errWrongPassword
		}
		if err := m.changePassword(ctx, now.ID, hash, "change"); err != nil {
			return reply, err
		}
		session, err := m.openSession(ctx, now.ID, hash, "")
		if err != nil {
			return reply, err
		}
		return m.tokensFor(now.ID, session)
	})
}

// orTokenInvalid refuses a token that is signed by our key and names an account we do not have.
func orTokenInvalid(err error) error {
	if errors.Is(err, postgres.ErrNoRows) {
		return identity.ErrTokenInvalid
	}
	return err
}
