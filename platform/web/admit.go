package web

import (
	"context"
	"net"
	"net/http"
	"strings"

	"user-service/platform/identity"
)

// keyHeader is where a sibling service shows its key.
const keyHeader = "X-Api-Key"

// admit lets in who may call, and puts who it is and where it comes from into the context.
func (r *Router) admit(ctx context.Context, access Access, req *http.Request) (context.Context, error) {
	ctx = identity.WithClient(ctx, clientOf(req))
	if access == Open {
		return ctx, nil
	}
	principal, err := r.principal(ctx, access, req)
	if err != nil {
		return ctx, err
	}
	note(ctx, principal)
	if access != Bearer && principal.Service == "" {
		staff, err := r.authority.Staff(ctx, principal.UserID)
		if err != nil {
			return ctx, err
		}
		if !staff {
			return ctx, identity.ErrForbidden
		}
	}
	return identity.With(ctx, principal), nil
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

// maxUserAgent bounds what is kept of the header, in bytes.
const maxUserAgent = 200

func clientOf(req *http.Request) identity.Client {
	address, _, _ := net.SplitHostPort(req.RemoteAddr)
	agent := req.UserAgent()
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return identity.Client{Address: address, UserAgent: strings.ToValidUTF8(agent, "")}
}
