package auth

import (
	"context"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/web"
)

type staffPatch struct {
	ID       string `path:"id"`
	IsActive *bool  `json:"is_active" doc:"Whether the account is open." example:"true"`
	IsStaff  *bool  `json:"is_staff" doc:"Whether the user belongs to the staff." example:"false"`
}

// changeAccount is what staff may do to an account.
func (m *Module) changeAccount(ctx context.Context, in staffPatch) (commands.User, error) {
	principal, _ := identity.From(ctx)
	if err := in.sparesOneself(principal.UserID); err != nil {
		return commands.User{}, err
	}
	return web.InTx(ctx, m.db, func(ctx context.Context) (user commands.User, err error) {
		a, err := m.store.lock(ctx, in.ID)
		if err != nil {
			return user, orNoSuchUser(err)
		}
		if in.IsActive != nil { // first: it locks preferences, and both lock the profile
			if err := m.setActive(ctx, a.ID, principal.UserID, *in.IsActive); err != nil {
				return user, err
			}
		}
		if in.IsStaff != nil && *in.IsStaff != a.IsStaff {
			if err := m.setStaff(ctx, a.ID, *in.IsStaff); err != nil {
				return user, err
			}
		}
		return messaging.Ask[commands.User](ctx, m.bus, commands.DescribeUser{UserID: a.ID})
	})
}

// sparesOneself keeps the last of the staff from locking everybody out.
func (in staffPatch) sparesOneself(userID string) error {
	fields := fault.Fields{}
	if in.ID == userID {
		if in.IsActive != nil && !*in.IsActive {
			fields.Add("is_active", "You cannot deactivate yourself here; delete your profile instead.")
		}
		if in.IsStaff != nil && !*in.IsStaff {
			fields.Add("is_staff", "You cannot leave the staff by yourself; ask somebody else of it.")
		}
	}
	return fields.Err()
}

func (m *Module) setStaff(ctx context.Context, accountID string, staff bool) error {
	if err := m.store.setStaff(ctx, accountID, staff); err != nil {
		return err
	}
	action := "staff_withdrawn"
	if staff {
		action = "staff_granted"
	}
	if err := m.record(ctx, entry{action: action, accountID: accountID}); err != nil {
		return err
	}
	return m.bus.Send(ctx, commands.SetStaff{UserID: accountID, IsStaff: staff})
}
