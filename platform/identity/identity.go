// Package identity says who is asking. The middleware of platform/web puts a Principal into the
// context of every request that carried a valid access token; modules only read it.
package identity

import (
	"context"

	"user-service/platform/fault"
)

// Principal is a signed-in user.
type Principal struct {
	UserID    string
	SessionID string
}

// Verify checks an access token and that it has not been revoked. Its faults are
// `token_invalid`, `token_expired` and, when revocations cannot be known, `unavailable`.
type Verify func(ctx context.Context, accessToken string) (Principal, error)

// The faults of a request that does not prove who is asking.
var (
	ErrNotAuthenticated = fault.New(fault.Unauthenticated, "not_authenticated", "Sign in and send the access token as `Authorization: Bearer <token>`.")
	ErrTokenInvalid     = fault.New(fault.Unauthenticated, "token_invalid", "This token is not valid, or its session has ended. Please sign in again.")
	ErrTokenExpired     = fault.New(fault.Unauthenticated, "token_expired", "This token has expired. Get a new one with the refresh token, or sign in again.")
)

type key struct{}

// With puts the principal into the context.
func With(ctx context.Context, p Principal) context.Context { return context.WithValue(ctx, key{}, p) }

// From reads the principal; ok is false for an anonymous request.
func From(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(key{}).(Principal)
	return p, ok
}
