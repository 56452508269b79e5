package auth

import (
	"context"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/web"
)

func (m *Module) requestReset(ctx context.Context, in addressed) (web.None, error) {
	return m.wish(ctx, in, passwordReset)
}

type resetBody struct {
	Token           string `json:"token" doc:"Token from the mail." example:"mTkqLZ0lyj3tWlJrR0h9Zb1yQ1j8cVt0oXw5n7u2k4E"`
	Password        string `json:"password" doc:"8 to 128 characters; not common, not all digits, not close to name or e-mail." format:"password" example:"analytical engine"`
	PasswordConfirm string `json:"password_confirm" doc:"The same password again." format:"password" example:"analytical engine"`
}

// confirmReset sets a new password and ends every session: whoever knew the old one is out.
func (m *Module) confirmReset(ctx context.Context, in resetBody) (web.None, error) {
	holder, err := m.holder(ctx, in.Token, passwordReset) // before anything is hashed for nothing
	if err != nil {
		return web.None{}, err
	}
	hash, err := m.newPassword(ctx, holder.ID, in.Password, in.PasswordConfirm)
	if err != nil {
		return web.None{}, err
	}
	none, err := web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		a, err := m.useToken(ctx, in.Token, passwordReset)
		if err != nil {
			return none, err
		}
		if err := m.changePassword(ctx, a.ID, hash, "reset"); err != nil {
			return none, err
		}
		return none, m.noteVerified(ctx, a) // the mail was read
	})
	if err == nil {
		m.forgiveGuesses(ctx, holder.ID)
	}
	return none, err
}

// newPassword checks a chosen password by every rule and hashes it.
func (m *Module) newPassword(ctx context.Context, accountID, password, confirm string) (hash string, err error) {
	user, err := messaging.Ask[commands.User](ctx, m.bus, commands.DescribeUser{UserID: accountID})
	if err != nil {
		return "", err
	}
	fields := fault.Fields{}
	checkPassword(fields, "password", password, user.Name, user.Email)
	if confirm != password {
		fields.Add("password_confirm", "The two passwords are not the same.")
	}
	if err := fields.Err(); err != nil {
		return "", err
	}
	return m.passwords.hash(ctx, password)
}

// changePassword is the common part of change and reset, in the transaction of ctx. A reset that was
// asked for before is void.
func (m *Module) changePassword(ctx context.Context, accountID, hash, reason string) error {
	if err := m.store.setPassword(ctx, accountID, hash); err != nil {
		return err
	}
	if err := m.store.voidToken(ctx, accountID, passwordReset); err != nil {
		return err
	}
	if err := m.record(ctx, entry{action: "password_" + passwordActions[reason], accountID: accountID}); err != nil {
		return err
	}
	if err := m.endAllSessions(ctx, accountID, "password_changed"); err != nil {
		return err
	}
	return m.bus.Publish(ctx, events.PasswordChanged{UserID: accountID, Reason: reason})
}

var passwordActions = map[string]string{"change": "changed", "reset": "reset"}
