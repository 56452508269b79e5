package main

import (
	"context"
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"user-service/modules/auth"
	"user-service/platform/servertest"
	"user-service/platform/web"
)

// TestDjangosPasswordsSignInAndAreUpgraded stores what an import brings.
func TestDjangosPasswordsSignInAndAreUpgraded(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	db := s.open(t)
	key, err := pbkdf2.Key(sha256.New, goodPassword, []byte("seasalt"), 1000, 32)
	require.NoError(t, err)
	blow, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 5)
	require.NoError(t, err)
	const weak = "$argon2id$v=19$m=32,t=1,p=1$"
	for _, hash := range []string{
		"pbkdf2_sha256$1000$seasalt$" + base64.StdEncoding.EncodeToString(key), "bcrypt$" + string(blow),
	} {
		k := i.register()
		stored := func() (hash string) {
			require.NoError(t, db.Get(t.Context(), &hash, `SELECT password FROM auth.accounts WHERE id = $1`, k.id()))
			return hash
		}
		login := func(password string) int {
			return i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": password}).Status
		}
		set := func(hash string, active bool) {
			_, err := db.Exec(t.Context(), `UPDATE auth.accounts SET password = $2, is_active = $3 WHERE id = $1`, k.id(), hash, active)
			require.NoError(t, err)
		}
		set(hash, false)
		require.Equal(t, 401, login(goodPassword))
		set(hash, true)
		require.Equal(t, 401, login("not the password"))
		require.Equal(t, hash, stored(), "only a successful login upgrades")
		require.Equal(t, 200, login(goodPassword))
		upgraded := stored()
		require.True(t, strings.HasPrefix(upgraded, "$argon2id$v=19$m=64,t=1,p=1$"), upgraded)
		require.Equal(t, 200, login(goodPassword))
		require.Equal(t, upgraded, stored(), "once")
		for _, unusable := range []string{"", "!" + strings.Repeat("x", 40), "pbkdf2_sha256$999999999$salt$x", weak} {
			set(unusable, true)
			for _, password := range []string{goodPassword, "", unusable} {
				require.Equal(t, 401, login(password), unusable)
			}
		}
	}
}

// originalToken is one of the original Django service's SimpleJWT.
func originalToken(t *testing.T, s *stack, userID, kind string, issued time.Time) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"token_type": kind, "exp": issued.Add(24 * time.Hour).Unix(), "iat": issued.Unix(),
		"jti": strings.ReplaceAll(uuid.NewString(), "-", ""), "user_id": userID,
	}).SignedString(s.config.SecretKey)
	require.NoError(t, err)
	return token
}

func TestOriginalsAccessTokenWorksUntilTheAccountEnds(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	k, other := a.register(), a.register()
	token := originalToken(t, s, k.id(), "access", time.Now().Add(-time.Minute))
	status := func(i *instance, token string) int { return i.call("GET", "/api/v1/users/profile/", token, nil).Status }
	require.Equal(t, 200, status(b, token))
	require.Equal(t, 401, status(b, originalToken(t, s, uuid.NewString(), "access", time.Now())), "nobody's")
	require.Equal(t, 200, a.call("DELETE", "/api/v1/users/profile/", token, nil).Status)
	require.Equal(t, 401, status(a, token), "at once")

	s.exec(t, `UPDATE auth.accounts SET is_active = true WHERE id = $1`, k.id())
	s.exec(t, `UPDATE profile.users SET is_active = true WHERE id = $1`, k.id())
	servertest.Eventually(t, func() bool { return status(b, token) == 401 }, "the other instance knows")
	require.Equal(t, 401, status(s.start(t), token), "and one that starts later")
	require.Equal(t, 200, status(b, originalToken(t, s, other.id(), "access", time.Now())), "other accounts' go on")
}

func TestOriginalsRefreshTokenBecomesASession(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	instances := [2]*instance{s.start(t), s.start(t)}
	db := s.open(t)
	k := instances[0].register()
	first := originalToken(t, s, k.id(), "refresh", time.Now().Add(-time.Minute))
	var all sync.WaitGroup
	var mu sync.Mutex
	successors := map[string]tokens{}
	const refreshes = 2 * (testConnections - 1) // each instance has a connection left for what else it does
	start := func() {
		for n := range refreshes {
			all.Go(func() {
				next, r := instances[n%2].refresh(first)
				if !assert.Equal(t, 200, r.Status, "%s", r.Error) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				successors[next.RefreshToken] = next
			})
		}
	}
	// None finds the token known: all of them have asked for it before the first one may adopt it.
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		var id string
		require.NoError(t, db.Get(ctx, &id, `SELECT id FROM auth.accounts WHERE id = $1 FOR UPDATE`, k.id()))
		start()
		servertest.Eventually(t, func() bool {
			var waiting int
			require.NoError(t, db.Get(t.Context(), &waiting, `
				SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`))
			return waiting == refreshes
		}, "all of them wait")
		return nil
	}))
	all.Wait()
	require.Len(t, successors, 1, "concurrent refreshes get the same successor")
	var sessions int
	require.NoError(t, db.Get(t.Context(), &sessions, `SELECT count(*) FROM auth.sessions WHERE account_id = $1`, k.id()))
	require.Equal(t, 2, sessions, "the registration's and one more")
	for _, next := range successors {
		require.Equal(t, 200, instances[1].call("GET", "/api/v1/users/me/", next.AccessToken, nil).Status)
		_, err := db.Exec(t.Context(), `UPDATE auth.refresh_tokens SET rotated_at = rotated_at - interval '11 seconds' WHERE rotated_at IS NOT NULL`)
		require.NoError(t, err)
		_, r := instances[0].refresh(first)
		require.Equal(t, "token_invalid", r.Error, "reuse after the grace")
		require.Equal(t, 401, instances[0].call("GET", "/api/v1/users/me/", next.AccessToken, nil).Status, "ends the session")
		_, r = instances[1].refresh(next.RefreshToken)
		require.Equal(t, 401, r.Status)
		_, r = instances[1].refresh(first)
		require.Equal(t, 401, r.Status, "it opens no second one")
	}
}

func TestOriginalsRefreshTokenIsRefusedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	k, gone := i.register(), i.register()
	refused := func(token, code string) {
		t.Helper()
		_, r := i.refresh(token)
		require.Equal(t, [2]any{401, code}, [2]any{r.Status, r.Error})
	}
	refused(originalToken(t, s, k.id(), "access", time.Now()), "token_invalid")
	refused(originalToken(t, s, k.id(), "refresh", time.Now().Add(-25*time.Hour)), "token_expired")
	refused(originalToken(t, s, uuid.NewString(), "refresh", time.Now()), "token_invalid")
	refused(originalToken(t, s, k.id(), "refresh", time.Now())+"x", "token_invalid")
	refused(strings.Repeat("a.b.c", 100_000), "token_invalid")

	before := originalToken(t, s, gone.id(), "refresh", time.Now())
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", gone.AccessToken, nil).Status)
	refused(before, "token_invalid")
	s.exec(t, `UPDATE auth.accounts SET is_active = true WHERE id = $1`, gone.id())
	refused(before, "token_invalid")
}

// pemOf is a private key as openssl writes it.
func pemOf(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestKeysArePublishedAndRotatedWithoutASignOut(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	oldKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, newKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	use := func(content []byte) func(*config) {
		keys, err := auth.ParseSigningKeys(content)
		require.NoError(t, err)
		return func(c *config) { c.SigningKeys = keys }
	}
	shared, first := s.start(t), s.start(t, use(pemOf(t, oldKey)))
	rotated := s.start(t, use(append(pemOf(t, newKey), pemOf(t, oldKey)...)))
	status := func(i *instance, token string) int { return i.call("GET", "/api/v1/users/me/", token, nil).Status }
	algorithms := func(i *instance) (algorithms []string) {
		resp, err := http.Get(i.base + "/.well-known/jwks.json")
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, "public, max-age=300", resp.Header.Get("Cache-Control"))
		var set struct{ Keys []map[string]string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&set))
		for _, key := range set.Keys {
			algorithms = append(algorithms, key["alg"])
		}
		return algorithms
	}
	require.Empty(t, algorithms(shared))
	require.Equal(t, []string{"RS256"}, algorithms(first))
	require.Equal(t, []string{"EdDSA", "RS256"}, algorithms(rotated))

	k := first.register()
	require.Equal(t, 200, status(rotated, k.AccessToken))
	next, r := rotated.refresh(k.RefreshToken)
	require.Equal(t, 200, r.Status)
	require.Equal(t, 200, status(rotated, next.AccessToken))
	require.Equal(t, 401, status(first, next.AccessToken), "it does not know the new key")

	byShared := shared.register()
	require.Equal(t, 401, status(first, byShared.AccessToken), "HS256 is not its algorithm")
	require.Equal(t, 401, status(shared, k.AccessToken))
	_, r = first.refresh(originalToken(t, s, k.id(), "refresh", time.Now()))
	require.Equal(t, "token_invalid", r.Error)
}

// TestOriginalsTokenOfWhoIsImportedInactiveIsRefused also when the account is opened again later.
func TestOriginalsTokenOfWhoIsImportedInactiveIsRefused(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	i := s.start(t)
	id := d.add("gone@example.com", "Gone", nil)
	d.exec(`UPDATE users SET is_active = false`)
	token := originalToken(t, s, id, "access", time.Now().Add(-time.Minute))
	s.importFrom(t, d)
	i.refusesWithinASecond(token, time.Now())
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/"+id+"/", s.staff(i).AccessToken, map[string]any{"is_active": true}).Status)
	i.refusesWithinASecond(token, time.Now())
	_, r := i.refresh(originalToken(t, s, id, "refresh", time.Now().Add(-time.Minute)))
	require.Equal(t, 401, r.Status)
}

// TestOriginalsTokenIssuedToAnInactiveAccountIsRefused: the original service does not know of its end.
func TestOriginalsTokenIssuedToAnInactiveAccountIsRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	k := i.register()
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", k.AccessToken, nil).Status)
	s.exec(t, `UPDATE auth.revocations SET revoked_at = revoked_at - interval '1 hour'`)
	token := originalToken(t, s, k.id(), "access", time.Now())
	for _, route := range s.start(t).app.router.Routes() { // one that reads the revocations as they are now
		if route.Access == web.Bearer {
			r := i.call(route.Method, "/api/v1"+filled(route.Path, uuid.NewString()), token, map[string]any{})
			require.Equal(t, "token_invalid", r.Error, "%s %s", route.Method, route.Path)
		}
	}
}
