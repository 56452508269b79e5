package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"user-service/platform/identity"
)

const (
	issuer      = "user-service"
	tokenType   = "access"
	clockLeeway = 30 * time.Second
)

// accessTokens issues and checks access tokens: JWTs (RFC 7519) that siblings verify with the
// shared key.
type accessTokens struct {
	key      []byte
	lifetime time.Duration
}

type claims struct {
	jwt.RegisteredClaims
	UserID    string `json:"user_id"` // the subject once more: siblings read it by this name
	SessionID string `json:"sid"`
	TokenType string `json:"token_type"`
}

func (t accessTokens) issue(accountID, sessionID string, now time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: accountID, Issuer: issuer, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(t.lifetime)),
		},
		UserID: accountID, SessionID: sessionID, TokenType: tokenType,
	}).SignedString(t.key)
}

// parser takes the one algorithm that is configured, whatever the token says of itself.
var parser = jwt.NewParser(
	jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer),
	jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockLeeway),
)

func (t accessTokens) parse(token string) (claims, error) {
	var c claims
	_, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.key, nil })
	if errors.Is(err, jwt.ErrTokenExpired) {
		return c, identity.ErrTokenExpired
	}
	if err != nil || c.TokenType != tokenType || c.Subject != c.UserID || c.IssuedAt == nil ||
		uuid.Validate(c.Subject) != nil || uuid.Validate(c.SessionID) != nil {
		return c, identity.ErrTokenInvalid
	}
	return c, nil
}
