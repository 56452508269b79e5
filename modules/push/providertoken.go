package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// AcceptedAPNsKey says what ParseAPNsKey takes.
const AcceptedAPNsKey = "the .p8 file of a key for Apple Push Notifications"

// APNsKey signs in the name of a developer team.
type APNsKey struct {
	private       *ecdsa.PrivateKey
	keyID, teamID string
}

// ParseAPNsKey reads the file that Apple gives for a key. Its errors show no secret.
func ParseAPNsKey(content []byte, keyID, teamID string) (APNsKey, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return APNsKey{}, errors.New("is no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return APNsKey{}, errors.New("holds no private key in PKCS #8")
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return APNsKey{}, errors.New("holds a key that is not of the curve P-256")
	}
	return APNsKey{private, keyID, teamID}, nil
}

// renewAfter lies within the 20 to 60 minutes of Apple's.
// https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
const renewAfter = 40 * time.Minute

// providerTokens signs the token that says who sends. Apple wants it to be the same for a while.
type providerTokens struct {
	key    APNsKey
	mu     sync.Mutex
	token  string
	signed time.Time
}

func (t *providerTokens) current() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && time.Since(t.signed) < renewAfter {
		return t.token, nil
	}
	now := time.Now()
	claims := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{Issuer: t.key.teamID, IssuedAt: jwt.NewNumericDate(now)})
	claims.Header["kid"] = t.key.keyID
	token, err := claims.SignedString(t.key.private)
	if err != nil {
		return "", fmt.Errorf("sign the token for APNs: %w", err)
	}
	t.token, t.signed = token, now
	return token, nil
}

// drop has the next token be signed anew, unless it was already.
func (t *providerTokens) drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.token = ""
	}
}
