package auth

import (
	"context"

	"user-service/platform/identity"
)

// Verify is the identity.Verify of the service. It asks no server, unless what this instance knows
// of revocations is older than a second.
func (m *Module) Verify(ctx context.Context, token string) (identity.Principal, error) {
	c, err := m.tokens.parse(token)
	if err != nil {
		return identity.Principal{}, err
	}
	revoked, err := m.revocations.include(ctx, c.SessionID)
	if err != nil {
		return identity.Principal{}, err
	}
	if revoked {
		return identity.Principal{}, identity.ErrTokenInvalid
	}
	return identity.Principal{UserID: c.Subject, SessionID: c.SessionID}, nil
}
