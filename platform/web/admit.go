package web

import (
	"context"
	"net/http"
	"strings"

	"user-service/platform/identity"
)

// keyHeader is where a sibling service shows its key.
const keyHeader = "X-Api-Key"

// admit lets in who may call, and not too often, and says who it is: nobody, where anyone may. A principal
// whose session has ended comes with the error.
func (r *Router) admit(ctx context.Context, e Endpoint, req *http.Request) (identity.Principal, error) {
	if e.Access == Open {
		return identity.Principal{}, r.limit(ctx, e, identity.Principal{})
	}
	principal, err := r.principal(ctx, e.Access, req)
	if principal == (identity.Principal{}) {
		return principal, err
	}
	note(ctx, principal)
	if limited := r.limit(ctx, e, principal); limited != nil {
		return identity.Principal{}, limited
	}
	if err != nil {
		return principal, err
	}
	if e.Access != Bearer && principal.Service == "" {
		staff, err := r.authority.Staff(ctx, principal.UserID)
		if err == nil && !staff {
			err = identity.ErrForbidden
		}
		if err != nil {
			return identity.Principal{}, err
		}
	}
	return principal, nil
}

func (r *Router) principal(ctx context.Context, access Access, req *http.Request) (identity.Principal, error) {
	if access == Service {
		if key := req.Header.Get(keyHeader); key != "" {
			return r.authority.Key(ctx, key)
		}
	}
	token, found := bearer(req)
	switch {
	case found:
		return r.authority.Token(ctx, token)
	case access == Service:
		return identity.Principal{}, identity.ErrNoServiceKey
	}
	return identity.Principal{}, identity.ErrNotAuthenticated
}

// bearer reads the Authorization header, RFC 6750 section 2.1.
func bearer(req *http.Request) (token string, found bool) {
	scheme, token, found := strings.Cut(req.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, found && token != "" && strings.EqualFold(scheme, "Bearer")
}
