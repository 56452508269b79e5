package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
)

var issuing = accessTokens{key: []byte("a secret key of the tests, long enough"), lifetime: time.Hour}

func validClaims() jwt.MapClaims {
	id := uuid.NewString()
	return jwt.MapClaims{
		"sub": id, "user_id": id, "sid": uuid.NewString(), "jti": uuid.NewString(), "iss": issuer, "token_type": "access",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

func signed(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return token
}

func TestAccessTokenCarriesWhatSiblingsRead(t *testing.T) {
	t.Parallel()
	account, session := uuid.NewString(), uuid.NewString()
	token, err := issuing.issue(account, session, time.Now())
	require.NoError(t, err)
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(body, &claims))
	require.Equal(t, account, claims["sub"])
	require.Equal(t, account, claims["user_id"])
	require.Equal(t, session, claims["sid"])
	require.Equal(t, "access", claims["token_type"])
	require.NotEmpty(t, claims["jti"])
	require.NotEmpty(t, claims["iss"])
	require.InDelta(t, 3600, claims["exp"].(float64)-claims["iat"].(float64), 0)

	parsed, err := issuing.parse(token)
	require.NoError(t, err)
	require.Equal(t, account, parsed.Subject)
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})
	with := func(name string, value any) jwt.MapClaims {
		claims := validClaims()
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
		return claims
	}
	good := signed(t, jwt.SigningMethodHS256, issuing.key, validClaims())
	_, err = issuing.parse(good)
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"no algorithm":        signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, validClaims()),
		"another key":         signed(t, jwt.SigningMethodHS256, []byte("another secret key, just as long as ours"), validClaims()),
		"a public key as key": signed(t, jwt.SigningMethodHS256, public, validClaims()),
		"HS512":               signed(t, jwt.SigningMethodHS512, issuing.key, validClaims()),
		"RS256":               signed(t, jwt.SigningMethodRS256, rsaKey, validClaims()),
		"another issuer":      signed(t, jwt.SigningMethodHS256, issuing.key, with("iss", "somebody-else")),
		"no issuer":           signed(t, jwt.SigningMethodHS256, issuing.key, with("iss", nil)),
		"a refresh token":     signed(t, jwt.SigningMethodHS256, issuing.key, with("token_type", "refresh")),
		"no type":             signed(t, jwt.SigningMethodHS256, issuing.key, with("token_type", nil)),
		"no expiry":           signed(t, jwt.SigningMethodHS256, issuing.key, with("exp", nil)),
		"no issue time":       signed(t, jwt.SigningMethodHS256, issuing.key, with("iat", nil)),
		"issued tomorrow":     signed(t, jwt.SigningMethodHS256, issuing.key, with("iat", time.Now().Add(24*time.Hour).Unix())),
		"another user's id":   signed(t, jwt.SigningMethodHS256, issuing.key, with("user_id", uuid.NewString())),
		"no session":          signed(t, jwt.SigningMethodHS256, issuing.key, with("sid", nil)),
		"SQL as session":      signed(t, jwt.SigningMethodHS256, issuing.key, with("sid", "' OR 1=1 --")),
		"a number as subject": signed(t, jwt.SigningMethodHS256, issuing.key, with("sub", 7)),
		"changed claims":      parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`)) + "." + parts[2],
		"no signature":        parts[0] + "." + parts[1] + ".",
		"nothing":             "",
		"dots":                "..",
		"noise":               strings.Repeat("a.b.c", 10_000),
	} {
		_, err := issuing.parse(token)
		require.ErrorIs(t, err, identity.ErrTokenInvalid, name)
	}
}

func TestExpiryHasALeewayForClocks(t *testing.T) {
	t.Parallel()
	expired := func(ago time.Duration) string {
		claims := validClaims()
		claims["exp"] = time.Now().Add(-ago).Unix()
		return signed(t, jwt.SigningMethodHS256, issuing.key, claims)
	}
	_, err := issuing.parse(expired(clockLeeway - 5*time.Second))
	require.NoError(t, err)
	_, err = issuing.parse(expired(clockLeeway + 5*time.Second))
	require.ErrorIs(t, err, identity.ErrTokenExpired)
}

func FuzzAccessToken(f *testing.F) {
	good, err := issuing.issue(uuid.NewString(), uuid.NewString(), time.Now())
	require.NoError(f, err)
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := issuing.parse(token); err == nil && token != good {
			require.Equal(t, strings.Split(good, ".")[1], strings.Split(token, ".")[1], "a token nobody issued")
		}
	})
}
