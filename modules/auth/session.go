package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"user-service/messaging/commands"
)

// opened is a session with the refresh token its client gets.
type opened struct {
	id           string
	refreshToken string
	at           time.Time // by the database's clock: an access token is as old everywhere, whoever issued it
}

// tokenPair is what a client signs its requests with.
type tokenPair struct {
	AccessToken  string `json:"access_token" doc:"JWT to send as Bearer token." example:"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"`
	RefreshToken string `json:"refresh_token" doc:"The refresh token, good for one refresh." example:"mTkqLZ0lyj3tWlJrR0h9Zb1yQ1j8cVt0oXw5n7u2k4E"`
	TokenType    string `json:"token_type" doc:"How the access token is sent." enum:"Bearer" example:"Bearer"`
	ExpiresIn    int    `json:"expires_in" doc:"Seconds until the access token expires." example:"3600"` // seconds, of the access token
}

// signedIn is the reply to a registration or login.
type signedIn struct {
	User commands.User `json:"user" doc:"Who is signed in."`
	tokenPair
}

// SessionsEnd is how old a session may get, however often it is refreshed: then its user signs in again.
const SessionsEnd = 90 * 24 * time.Hour

// secretBytes is the length of a refresh token before it is written as text: 256 bits.
const secretBytes = 32

var tokenText = base64.RawURLEncoding

// errNotHeld is the fault of a proof that has been overtaken: the account is not active any more, or
// has another password.
var errNotHeld = errors.New("the account is not what was verified any more")

// prepareSession makes what a session needs: action says why in the audit log; none, when a line says so
// already.
func (m *Module) prepareSession(accountID, action string) (newSession, opened) {
	secret, hash := newSecret()
	session := opened{id: uuid.NewString(), refreshToken: secret}
	return m.newSession(session.id, accountID, hash, action), session
}

func (m *Module) newSession(id, accountID string, token []byte, action string) newSession {
	why := entry{action: action, accountID: accountID, detail: detail{"session_id": id}}
	return newSession{id: id, token: token, why: why, lifetime: m.settings.RefreshLifetime}
}

// openSession opens one for whoever proved to have the account while proof was its password hash.
func (m *Module) openSession(ctx context.Context, accountID, proof, action string) (opened, error) {
	prepared, session := m.prepareSession(accountID, action)
	var err error
	session.at, err = m.addSession(ctx, prepared, proof)
	return session, err
}

func (m *Module) addSession(ctx context.Context, n newSession, proof string) (at time.Time, err error) {
	accountID := n.why.accountID
	at, spare, err := m.store.addSession(asUser(ctx, accountID), n, proof, maxSessions)
	if err == nil && at.IsZero() {
		err = errNotHeld
	}
	if err != nil || len(spare) == 0 {
		return at, err
	}
	if _, err := m.endSessions(ctx, accountID, spare, "too_many_sessions"); err != nil {
		return at, err
	}
	return at, m.record(ctx, entry{action: "oldest_sessions_ended", accountID: accountID, detail: detail{"count": strconv.Itoa(len(spare))}})
}

func (m *Module) tokensFor(accountID string, session opened) (tokenPair, error) {
	access, err := m.tokens.issue(accountID, session.id, session.at)
	return tokenPair{
		AccessToken: access, RefreshToken: session.refreshToken,
		TokenType: "Bearer", ExpiresIn: int(m.settings.AccessLifetime.Seconds()),
	}, err
}

// newSecret is a token that nobody can guess, with the form in which it is stored.
func newSecret() (text string, hash []byte) {
	secret := randomBytes()
	return tokenText.EncodeToString(secret), digest(secret)
}

func randomBytes() []byte {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails, see its documentation
	return random
}

// digest is the form in which a token is stored.
func digest(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}
