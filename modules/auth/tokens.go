package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"user-service/platform/identity"
)

const (
	issuer      = "user-service"
	tokenType   = "access"
	refreshType = "refresh" // of the original service: ours are no JWTs
	clockLeeway = 30 * time.Second
	maxToken    = 8 << 10 // bytes; ours have less than one tenth of it
)

// originalKept is the least time for which an access token of the original service can be revoked:
// as long as it is accepted, whatever it says of its own end.
const originalKept = 24 * time.Hour

// tokens issues access tokens and checks those and the original service's: JWTs (RFC 7519) that
// siblings verify with the shared secret, or with the published keys.
type tokens struct {
	keys            []SigningKey // the first one signs
	parser          *jwt.Parser
	clock           *databaseClock
	verified        *verified     // access tokens
	lifetime        time.Duration // of access tokens
	refreshLifetime time.Duration
}

func newTokens(s Settings) tokens {
	t := tokens{keys: s.SigningKeys, clock: new(databaseClock), verified: newVerified(), lifetime: s.AccessLifetime, refreshLifetime: s.RefreshLifetime}
	if len(t.keys) == 0 {
		t.keys = []SigningKey{sharedKey(s.SecretKey)}
	}
	var methods []string
	for _, key := range t.keys {
		methods = append(methods, key.method.Alg())
	}
	t.parser = jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockLeeway), jwt.WithTimeFunc(t.clock.now))
	return t
}

type claims struct {
	jwt.RegisteredClaims
	UserID    string `json:"user_id"` // the subject once more: siblings read it by this name
	SessionID string `json:"sid"`     // empty in a token of the original service
	TokenType string `json:"token_type"`
}

func (t tokens) issue(accountID, sessionID string, now time.Time) (string, error) {
	key := t.keys[0]
	token := jwt.NewWithClaims(key.method, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: accountID, Issuer: issuer, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(t.lifetime)),
		},
		UserID: accountID, SessionID: sessionID, TokenType: tokenType,
	})
	if key.id != "" {
		token.Header["kid"] = key.id
	}
	return token.SignedString(key.private)
}

// access checks an access token of ours or of the original service.
func (t tokens) access(token string) (claims, error) {
	c, known := t.verified.get(token)
	if !known {
		var err error
		if c, err = t.verify(token); err != nil {
			return c, err
		}
		if c.TokenType != tokenType || !c.ours() && !t.original(c) {
			return c, identity.ErrTokenInvalid
		}
		t.verified.add(token, c)
	}
	// It may have been issued when the lifetime was longer: revocations are kept for the one of now.
	lifetime := t.lifetime
	if !c.ours() {
		lifetime = t.originalLifetime()
	}
	if now := t.clock.now(); now.Sub(c.IssuedAt.Time) > lifetime+clockLeeway || now.Sub(c.ExpiresAt.Time) >= clockLeeway {
		return c, identity.ErrTokenExpired
	}
	return c, nil
}

func (c claims) ours() bool {
	return c.Issuer == issuer && c.Subject == c.UserID && canonical(c.SessionID)
}

// originalRefresh checks a refresh token of the original service. It counts no longer than one of
// ours would: for so long at least it is known whether it was used.
func (t tokens) originalRefresh(token string) (claims, error) {
	c, err := t.verify(token)
	switch {
	case err != nil:
		return c, err
	case c.TokenType != refreshType || !t.original(c):
		return c, identity.ErrTokenInvalid
	case t.clock.now().Sub(c.IssuedAt.Time) > t.refreshLifetime+clockLeeway:
		return c, identity.ErrTokenExpired
	}
	return c, nil
}

// original reports whether these can be claims of the original service: they name no issuer and no
// session, and were signed with the shared secret.
func (t tokens) original(c claims) bool {
	return t.keys[0].id == "" && c.Issuer == "" && c.SessionID == "" && (c.Subject == "" || c.Subject == c.UserID)
}

func (t tokens) originalLifetime() time.Duration { return max(t.lifetime, originalKept) }

// verify checks what all tokens have in common.
func (t tokens) verify(token string) (claims, error) {
	var c claims
	// The decoder of the signature would skip over line ends: one token has one text.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return c, identity.ErrTokenInvalid
	}
	_, err := t.parser.ParseWithClaims(token, &c, t.keyOf)
	if errors.Is(err, jwt.ErrTokenExpired) {
		return c, identity.ErrTokenExpired
	}
	// None of these tokens is for a certain audience, so one with an audience is for somebody else.
	if err != nil || c.IssuedAt == nil || !canonical(c.UserID) || len(c.Audience) > 0 {
		return c, identity.ErrTokenInvalid
	}
	return c, nil
}

// keyOf finds the key that the token names, and takes it for nothing but its own algorithm.
func (t tokens) keyOf(token *jwt.Token) (any, error) {
	if _, found := token.Header["crit"]; found { // RFC 7515 section 4.1.11: we know no extension
		return nil, errors.New("an extension must be understood")
	}
	id, _ := token.Header["kid"].(string)
	for _, key := range t.keys {
		if key.id == id && key.method == token.Method {
			return key.public, nil
		}
	}
	return nil, fmt.Errorf("no key for %s", token.Method.Alg())
}

// canonical reports whether id is a UUID as we write it: it is compared as text.
func canonical(id string) bool {
	return len(id) == 36 && uuid.Validate(id) == nil && id == strings.ToLower(id)
}
