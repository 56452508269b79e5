package main

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func (i *instance) refresh(token string) (tokens, reply) {
	i.t.Helper()
	r := i.call("POST", "/api/v1/auth/refresh/", "", map[string]any{"refresh": token})
	var k tokens
	if r.Success {
		r.into(i.t, &k)
	}
	return k, r
}

// refusesWithinASecond lets an access token pass only in requests made less than a second after since.
func (i *instance) refusesWithinASecond(accessToken string, since time.Time) {
	i.t.Helper()
	for asked := time.Now(); ; asked = time.Now() {
		if i.call("GET", "/api/v1/auth/sessions/", accessToken, nil).Status == 401 {
			return
		}
		require.Less(i.t, asked.Sub(since), time.Second, "the token is still accepted")
	}
}

func TestRefreshTokenRotatesAndConcurrentRefreshesAgree(t *testing.T) {
	t.Parallel()
	_, a, b := shared(t)
	instances := [2]*instance{a, b}
	first := instances[0].register()
	var all sync.WaitGroup
	var mu sync.Mutex
	successors := map[string]int{}
	for n := range 10 {
		all.Go(func() {
			k, r := instances[n%2].refresh(first.RefreshToken)
			require.Equal(t, 200, r.Status, "%s", r.Error)
			require.Equal(t, 200, instances[n%2].call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status)
			mu.Lock()
			defer mu.Unlock()
			successors[k.RefreshToken]++
		})
	}
	all.Wait()
	require.Len(t, successors, 1, "within the grace every refresh gets the same successor")
	for successor := range successors {
		require.NotEqual(t, first.RefreshToken, successor)
		next, r := instances[0].refresh(successor)
		require.Equal(t, 200, r.Status)
		require.NotEqual(t, successor, next.RefreshToken)
	}
	r := instances[1].call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": "x"})
	require.Equal(t, "token_invalid", r.Error)
	r = instances[1].call("POST", "/api/v1/auth/refresh", "", map[string]any{})
	require.Equal(t, map[string][]string{"refresh": {"This field is required."}}, r.Errors)
}

func TestReuseOfAnOldRefreshTokenEndsTheSession(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	listening := s.broker(t).listen()
	for _, test := range []struct {
		name string
		age  func(first tokens) tokens // gives the client's latest tokens
	}{
		{"a grandparent, even within the grace", func(first tokens) tokens {
			second, _ := a.refresh(first.RefreshToken)
			third, _ := a.refresh(second.RefreshToken)
			return third
		}},
		{"the parent, after the grace", func(first tokens) tokens {
			second, _ := a.refresh(first.RefreshToken)
			s.exec(t, `
				UPDATE auth.refresh_tokens SET rotated_at = rotated_at - interval '11 seconds' WHERE rotated_at IS NOT NULL
				AND session_id IN (SELECT id FROM auth.sessions WHERE account_id = $1)`, first.id())
			return second
		}},
	} {
		first := a.register()
		latest := test.age(first)
		require.Equal(t, 200, b.call("GET", "/api/v1/users/me/", latest.AccessToken, nil).Status, test.name)

		_, r := a.refresh(first.RefreshToken)
		require.Equal(t, 401, r.Status, test.name)
		require.Equal(t, "token_invalid", r.Error)
		_, r = b.refresh(latest.RefreshToken)
		require.Equal(t, 401, r.Status, test.name)
		require.Equal(t, 401, a.call("GET", "/api/v1/users/me/", latest.AccessToken, nil).Status, test.name)
		servertest.Eventually(t, func() bool {
			return b.call("GET", "/api/v1/users/me/", latest.AccessToken, nil).Status == 401
		}, "the other instance knows")
		servertest.Eventually(t, func() bool { return len(listening.of(first.id(), "session.revoked")) == 1 }, "session.revoked")
		require.Equal(t, "refresh_token_reused", listening.of(first.id(), "session.revoked")[0].Data["reason"])

		other := map[string]any{"email": first.User["email"], "password": goodPassword}
		require.Equal(t, 200, a.call("POST", "/api/v1/auth/login/", "", other).Status, "the account is not ended")
	}
}

func TestExpiredAndRevokedRefreshTokensAreRefused(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	k := i.register()
	s.exec(t, `UPDATE auth.sessions SET expires_at = now() - interval '1 second' WHERE account_id = $1`, k.id())
	_, r := i.refresh(k.RefreshToken)
	require.Equal(t, "token_expired", r.Error)
	require.Equal(t, 401, r.Status)
}

// TestDatabaseHoldsNoTokenAndNoPassword looks for what a thief of the database would want.
func TestDatabaseHoldsNoTokenAndNoPassword(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	db := s.open(t)
	k := i.register()
	next, _ := i.refresh(k.RefreshToken)
	for _, table := range []string{"auth.accounts", "auth.sessions", "auth.refresh_tokens", "messaging.outbox", "profile.users"} {
		var rows []string
		require.NoError(t, db.Select(t.Context(), &rows, `SELECT row_to_json(x)::text FROM `+table+` x`))
		all := strings.Join(rows, "\n")
		for _, secret := range []string{k.RefreshToken, next.RefreshToken, k.AccessToken, goodPassword} {
			require.NotContains(t, all, secret, table)
		}
	}
	var hash string
	require.NoError(t, db.Get(t.Context(), &hash, `SELECT password FROM auth.accounts WHERE id = $1`, k.id()))
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$"), hash)
}

func TestLoginTellsNobodyWhetherAnAccountExists(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	k := i.register()
	wrong := i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": "not the password"})
	unknown := i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": "nobody@example.com", "password": goodPassword})
	require.Equal(t, 401, wrong.Status)
	require.Equal(t, "invalid_credentials", wrong.Error)
	require.Equal(t, wrong.Message, unknown.Message)
	require.Equal(t, wrong.Error, unknown.Error)
	for _, hostile := range []map[string]any{
		{"email": "' OR 1=1 --", "password": "x"}, {"email": strings.Repeat("a", 100_000), "password": strings.Repeat("b", 100_000)},
		{"email": "", "password": ""},
	} {
		require.Equal(t, 401, i.call("POST", "/api/v1/auth/login/", "", hostile).Status)
	}
	mixed := map[string]any{"email": "  " + strings.ToUpper(k.User["email"].(string)) + " ", "password": goodPassword}
	require.Equal(t, 200, i.call("POST", "/api/v1/auth/login/", "", mixed).Status, "an address has no case")
}

// TestTokenOfAUserWeDoNotHaveIsRefused signs a token with the shared key, as a sibling could.
func TestTokenOfAUserWeDoNotHaveIsRefused(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	k := i.register()
	stranger := jwtWith(t, s, k.AccessToken, map[string]any{"sub": uuid.NewString()})
	for _, request := range [][2]string{
		{"GET", "/api/v1/users/profile/"}, {"PATCH", "/api/v1/users/profile/"}, {"DELETE", "/api/v1/users/profile/"},
		{"GET", "/api/v1/users/preferences/"}, {"PATCH", "/api/v1/users/preferences/"},
	} {
		r := i.call(request[0], request[1], stranger, map[string]any{"name": "Nobody", "email": false})
		require.Equal(t, 401, r.Status, "%v", request)
		require.Equal(t, "token_invalid", r.Error)
	}
}

// jwtWith signs the claims of token anew with some of them changed; sub stands for user_id too.
func jwtWith(t *testing.T, s *stack, token string, changes map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(token, claims)
	require.NoError(t, err)
	maps.Copy(claims, changes)
	claims["user_id"] = claims["sub"]
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.config.SecretKey)
	require.NoError(t, err)
	return signed
}

// TestRevocationHeedsNoClockAndNoStart judges tokens that a comparison of times would let through.
func TestRevocationHeedsNoClockAndNoStart(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	k := i.register()
	ahead := jwtWith(t, s, k.AccessToken, map[string]any{"iat": time.Now().Add(20 * time.Second).Unix()})
	require.Equal(t, 200, i.call("GET", "/api/v1/users/me/", ahead, nil).Status)
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", k.AccessToken, nil).Status)
	fresh := s.start(t)
	for _, instance := range []*instance{i, fresh} {
		for _, token := range []string{k.AccessToken, ahead} {
			require.Equal(t, 401, instance.call("GET", "/api/v1/users/me/", token, nil).Status)
		}
	}
}

// TestRevocationThatCommitsLateIsNotOverlooked holds a revoking transaction open while the instance
// looks several times, and another one commits meanwhile.
func TestRevocationThatCommitsLateIsNotOverlooked(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	db := s.open(t)
	late, other := i.register(), i.register()
	sessionOf := func(k tokens) string {
		t.Helper()
		var id string
		require.NoError(t, db.Get(t.Context(), &id, `SELECT id FROM auth.sessions WHERE account_id = $1`, k.id()))
		return id
	}
	revoke := func(ctx context.Context, session string) {
		t.Helper()
		_, err := db.Exec(ctx, `INSERT INTO auth.revocations (session_id, expires_at) VALUES ($1, now() + interval '1 hour')`, session)
		require.NoError(t, err)
	}
	lateSession, otherSession := sessionOf(late), sessionOf(other)
	refused := func(k tokens) bool { return i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status == 401 }
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		revoke(ctx, lateSession)
		revoke(t.Context(), otherSession)
		servertest.Eventually(t, func() bool { return refused(other) }, "the one that committed is known")
		require.False(t, refused(late))
		return nil
	}))
	i.refusesWithinASecond(late.AccessToken, time.Now())
}
