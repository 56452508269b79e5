// Package identity says who is asking, and from where. The middleware of platform/web puts a Principal
// and a Client into the context of a request; modules only read them.
package identity

import (
	"context"
	"net/netip"

	"user-service/platform/ctxvalue"
	"user-service/platform/fault"
)

// Principal is a signed-in user, or a sibling service.
type Principal struct {
	UserID    string // empty for a service
	SessionID string // empty for a service, and for a token that the original service issued
	Service   string // the name of its key
}

// Actor names the principal in records: `user:<id>` or `service:<name>`.
func (p Principal) Actor() string {
	switch {
	case p.Service != "":
		return "service:" + p.Service
	case p.UserID != "":
		return "user:" + p.UserID
	}
	return "anonymous"
}

// Client is where a request comes from.
type Client struct {
	Address   string // its IP address; a trusted proxy's word for it
	UserAgent string // what it says of itself: shown, never believed
}

// Authority judges who is asking. All its faults are `unavailable` when what they need is away.
type Authority struct {
	// Token checks an access token and that it has not been revoked. Its faults are `token_invalid`
	// and `token_expired`. Of a genuine token whose session has ended it tells the principal too.
	Token func(ctx context.Context, accessToken string) (Principal, error)
	// Key checks a service key. Its fault is `token_invalid`.
	Key func(ctx context.Context, serviceKey string) (Principal, error)
	// Staff reports whether a user belongs to the staff.
	Staff func(ctx context.Context, userID string) (bool, error)
}

// The faults of a request that does not prove who is asking.
var (
	ErrNotAuthenticated = fault.New(fault.Unauthenticated, "not_authenticated", "Sign in and send the access token as `Authorization: Bearer <token>`.")
	ErrTokenInvalid     = fault.New(fault.Unauthenticated, "token_invalid", "This token is not valid, or its session has ended. Please sign in again.")
	ErrTokenExpired     = fault.New(fault.Unauthenticated, "token_expired", "This token has expired. Get a new one with the refresh token, or sign in again.")
)

// ErrNoSuchUser is the fault of a request about a user we do not have.
var ErrNoSuchUser = fault.New(fault.NotFound, "not_found", "There is no such user.")

// ErrForbidden is the fault of a principal who may not do what it asks for.
var ErrForbidden = fault.New(fault.Forbidden, "forbidden", "You are not allowed to do this.")

// Faults of a service that does not prove who it is.
var (
	ErrNoServiceKey      = fault.New(fault.Unauthenticated, "not_authenticated", "Send a service key as `X-API-Key: <key>`, or the access token of a staff user as `Authorization: Bearer <token>`.")
	ErrServiceKeyInvalid = fault.New(fault.Unauthenticated, "token_invalid", "This service key is not valid, or it has been revoked.")
)

// Network is what a client is counted by: its address, of which an IPv6 client has a whole /64.
func (c Client) Network() string {
	address, err := netip.ParseAddr(c.Address)
	if err != nil || address.Is4() {
		return c.Address
	}
	network, _ := address.Prefix(64) // fails for more bits than there are
	return network.String()
}

// With puts the principal into the context.
func With(ctx context.Context, p Principal) context.Context { return ctxvalue.With(ctx, p) }

// From reads the principal; ok is false for an anonymous request.
func From(ctx context.Context) (p Principal, ok bool) { return ctxvalue.From[Principal](ctx) }

// WithClient puts where a request comes from into the context.
func WithClient(ctx context.Context, c Client) context.Context { return ctxvalue.With(ctx, c) }

// ClientFrom reads where the request comes from; the zero Client when it is none of a client.
func ClientFrom(ctx context.Context) Client {
	c, _ := ctxvalue.From[Client](ctx)
	return c
}
