package auth

import (
	"context"

	"user-service/platform/identity"
)

// Authority judges who is asking, for the whole service.
func (m *Module) Authority() identity.Authority {
	return identity.Authority{Token: m.verifyToken, Key: m.serviceKeys.judge, Staff: m.store.isStaff}
}

// verifyToken asks no server, unless what this instance knows of revocations is older than a second,
// or the token is the original service's.
func (m *Module) verifyToken(ctx context.Context, token string) (identity.Principal, error) {
	if !m.tokens.clock.known() {
		_ = m.revocations.look(ctx, revocationsTrusted) // out of reach, the clock of this machine will do
	}
	c, err := m.tokens.access(token)
	if err != nil {
		return identity.Principal{}, err
	}
	revoked, err := m.revocations.include(ctx, c)
	if err != nil {
		return identity.Principal{}, err
	}
	principal := identity.Principal{UserID: c.UserID, SessionID: c.SessionID}
	if revoked {
		return principal, identity.ErrTokenInvalid
	}
	if c.SessionID == "" { // the original service goes on issuing tokens to whom this one has deactivated
		return principal, m.store.mustBeActive(ctx, c.UserID)
	}
	return principal, nil
}
