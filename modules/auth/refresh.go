package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// refreshGrace is how long the immediate parent of the current refresh token still works: for
// clients that refresh twice at once or never saw the reply.
const refreshGrace = 10 * time.Second

type refreshRequest struct {
	Refresh      web.Nullable[string] `json:"refresh" anyof:"true" doc:"The refresh token." example:"mTkqLZ0lyj3tWlJrR0h9Zb1yQ1j8cVt0oXw5n7u2k4E"`
	RefreshToken web.Nullable[string] `json:"refresh_token" anyof:"true" doc:"The refresh token, good for one refresh." example:"mTkqLZ0lyj3tWlJrR0h9Zb1yQ1j8cVt0oXw5n7u2k4E"`
}

// refresh changes a refresh token for a new pair of tokens.
func (m *Module) refresh(ctx context.Context, in refreshRequest) (tokenPair, error) {
	sent := cmp.Or(in.Refresh.Value, in.RefreshToken.Value)
	if sent == nil {
		return tokenPair{}, fault.Fields{"refresh": {"This field is required."}}.Err()
	}
	secret, err := refreshSecret(*sent)
	if err != nil {
		return tokenPair{}, err
	}
	var token presented
	pair, err := web.InTx(ctx, m.db, func(ctx context.Context) (pair tokenPair, err error) {
		token, err = m.store.lockPresented(ctx, digest(secret), refreshGrace)
		if errors.Is(err, postgres.ErrNoRows) {
			token, err = m.adopt(ctx, secret)
		}
		if err != nil {
			return pair, orTokenInvalid(err)
		}
		successor, err := m.succeed(ctx, secret, token)
		if err != nil {
			return pair, err
		}
		return m.tokensFor(token.AccountID, opened{id: token.SessionID, refreshToken: tokenText.EncodeToString(successor), at: token.Now})
	})
	if errors.Is(err, errReused) {
		return tokenPair{}, m.refuseReuse(ctx, token)
	}
	return pair, err
}

var errReused = errors.New("a refresh token was used that has been changed for another")

// succeed gives the successor of a token, the same one again within the grace.
func (m *Module) succeed(ctx context.Context, secret []byte, token presented) ([]byte, error) {
	switch {
	case token.Revoked || !token.IsActive:
		return nil, identity.ErrTokenInvalid
	case token.Expired:
		return nil, identity.ErrTokenExpired
	case token.SuccessorSalt == nil:
		return m.rotate(ctx, secret, token)
	case token.InGrace:
		return successorOf(secret, token.SuccessorSalt), nil
	}
	return nil, errReused
}

// refuseReuse ends a session whose old token turns up: somebody else holds a copy of it. It does so in
// a transaction of its own, which commits although the request is refused.
func (m *Module) refuseReuse(ctx context.Context, token presented) error {
	err := m.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := m.endSessions(ctx, token.AccountID, []string{token.SessionID}, "refresh_token_reused"); err != nil {
			return err
		}
		return m.record(ctx, entry{action: "refresh_token_reused", accountID: token.AccountID, detail: detail{"session_id": token.SessionID}})
	})
	return cmp.Or(err, error(identity.ErrTokenInvalid))
}

// refreshSecret gives what a refresh token proves itself by: its bytes, or all of its text if it is
// a JWT of the original service.
func refreshSecret(token string) ([]byte, error) {
	if strings.Contains(token, ".") && len(token) <= maxToken {
		return []byte(token), nil
	}
	secret, err := tokenText.DecodeString(token)
	if err != nil || len(secret) != secretBytes {
		return nil, identity.ErrTokenInvalid
	}
	return secret, nil
}

func (m *Module) rotate(ctx context.Context, secret []byte, token presented) ([]byte, error) {
	salt := randomBytes()
	successor := successorOf(secret, salt)
	return successor, m.store.rotate(ctx, digest(secret), salt, digest(successor), token.SessionID, m.settings.RefreshLifetime)
}

// successorOf derives the next refresh token, so that it can be given a second time without being
// stored: it takes the token that only the client has, and the salt that only the database has.
func successorOf(secret, salt []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(salt)
	return mac.Sum(nil)
}
