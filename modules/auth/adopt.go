package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"user-service/platform/identity"
	"user-service/platform/postgres"
)

// adopt makes a refresh token of the original service the first one of a new session, so that who
// is signed in there stays so here. Anything else that is unknown is refused.
func (m *Module) adopt(ctx context.Context, secret []byte) (presented, error) {
	c, err := m.tokens.originalRefresh(string(secret))
	if err != nil {
		return presented{}, err
	}
	proof, ended, err := m.store.lockUnended(ctx, c.UserID)
	switch {
	case errors.Is(err, postgres.ErrNoRows):
		return presented{}, identity.ErrTokenInvalid
	case err != nil:
		return presented{}, err
	case ended != nil && issuedBefore(c.IssuedAt.Time, *ended):
		return presented{}, identity.ErrTokenInvalid
	}
	// Another request with this token may have held the lock before.
	token, err := m.store.lockPresented(ctx, digest(secret), refreshGrace)
	if !errors.Is(err, postgres.ErrNoRows) {
		return token, err
	}
	adopted := m.newSession(uuid.NewString(), c.UserID, digest(secret), "session_adopted")
	if _, err := m.addSession(ctx, adopted, proof); err != nil {
		return presented{}, err
	}
	return m.store.lockPresented(ctx, digest(secret), refreshGrace)
}

// lockUnended locks an active account against others who adopt, and gives its password hash and when
// tokens without a session were last revoked.
func (s store) lockUnended(ctx context.Context, accountID string) (proof string, ended *time.Time, err error) {
	var row struct {
		Password string     `db:"password"`
		Ended    *time.Time `db:"sessions_ended_at"`
	}
	err = s.db.Get(ctx, &row, `
		SELECT password, sessions_ended_at FROM auth.accounts WHERE id = $1 AND is_active FOR NO KEY UPDATE`, accountID)
	return row.Password, row.Ended, err
}
