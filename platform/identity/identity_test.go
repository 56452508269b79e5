package identity_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/identity"
)

func TestContextCarriesWhoIsAsking(t *testing.T) {
	t.Parallel()
	_, ok := identity.From(t.Context())
	require.False(t, ok)
	ada := identity.Principal{UserID: "ada", SessionID: "1"}
	got, ok := identity.From(identity.With(t.Context(), ada))
	require.True(t, ok)
	require.Equal(t, ada, got)
}

func TestWhoDoesNotProveWhoIsAskingIsUnauthenticated(t *testing.T) {
	t.Parallel()
	for code, err := range map[string]error{
		"not_authenticated": identity.ErrNotAuthenticated, "token_invalid": identity.ErrTokenInvalid, "token_expired": identity.ErrTokenExpired,
	} {
		require.Equal(t, fault.Unauthenticated, fault.From(err).Kind)
		require.Equal(t, code, fault.From(err).Code)
	}
}
