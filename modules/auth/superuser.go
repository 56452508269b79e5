package auth

import (
	"context"
	"time"

	"github.com/google/uuid"

	"user-service/messaging/commands"
	"user-service/platform/fault"
)

// Superuser is what an operator says of one.
type Superuser struct{ Email, Name, Password string }

// CreateSuperuser makes a staff account whose address needs no verification, by the rules of a
// registration. Its fault is `validation_failed`, also for an address that is taken.
func (m *Module) CreateSuperuser(ctx context.Context, s Superuser) (id string, err error) {
	in := registration{Name: s.Name, Email: s.Email, Password: s.Password}
	if err := in.validate(); err != nil {
		return "", err
	}
	hash, err := m.passwords.hash(ctx, in.Password)
	if err != nil {
		return "", err
	}
	id = uuid.Must(uuid.NewV7()).String()
	now := time.Now()
	account := NewAccount{Hash: hash, User: commands.User{
		ID: id, UserID: id, Email: in.Email, Name: in.Name, Preferences: commands.Preferences(in.channels()),
		EmailVerified: true, IsActive: true, IsStaff: true, CreatedAt: now, UpdatedAt: now,
	}}
	return id, m.db.InTx(ctx, func(ctx context.Context) error {
		added, _, err := m.enrol(ctx, []NewAccount{account}, true)
		if err == nil && len(added) == 0 {
			err = fault.Fields{"email": {"A user with this email already exists."}}.Err()
		}
		if err != nil {
			return err
		}
		return m.record(ctx, entry{action: "superuser_created", accountID: id})
	})
}
