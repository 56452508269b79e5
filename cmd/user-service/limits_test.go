package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// limited switches the limits on, behind a proxy on this host: a test is many clients.
func limited(c *config) {
	c.RateLimit, c.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// visitor is an address that nobody else has.
func visitor() string {
	id := uuid.New()
	return fmt.Sprintf("2001:db8:%x:%x::1", id[0:2], id[2:4])
}

// callFrom calls as a client at address that the proxy names.
func (i *instance) callFrom(address, method, path, content string, headers ...string) reply {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, strings.NewReader(content))
	require.NoError(i.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", address)
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	return i.do(req)
}

func (i *instance) loginFrom(address string, email any, password string) reply {
	i.t.Helper()
	return i.callFrom(address, "POST", "/api/v1/auth/login/", fmt.Sprintf(`{"email": %q, "password": %q}`, email, password))
}

// guess tries wrong passwords from ever new addresses until one is refused, and gives how many were not.
func (i *instance) guess(email any) (tried int) {
	i.t.Helper()
	for {
		r := i.loginFrom(visitor(), email, "not the password")
		if r.Status == 429 {
			requireRefused(i.t, r)
			return tried
		}
		if r.Status == 401 { // else a busy machine hashes slowly
			tried++
		}
		require.Less(i.t, tried, 100, "guessing is never slowed")
	}
}

// refuses guesses until the right password, too, is refused from an address that the account does not know.
func (i *instance) refuses(email string) {
	i.t.Helper()
	servertest.Eventually(i.t, func() bool { // a machine so busy that Redis is left alone for a moment counts anew
		i.guess(email)
		return i.loginFrom(visitor(), email, goodPassword).Status == 429
	}, "strangers are refused")
}

func requireRefused(t testing.TB, r reply) {
	t.Helper()
	require.Equal(t, 429, r.Status)
	require.Equal(t, "rate_limited", r.Error)
	require.Equal(t, "0", r.Header.Get("RateLimit-Remaining"))
	for _, name := range []string{"Retry-After", "RateLimit-Reset", "RateLimit-Limit"} {
		value, err := strconv.Atoi(r.Header.Get(name))
		require.NoError(t, err, name)
		require.Positive(t, value, name)
	}
}

// registered makes a user from an address.
func (i *instance) registered(address string) (email string) {
	i.t.Helper()
	email = uuid.NewString() + "@example.com"
	servertest.Eventually(i.t, func() bool {
		r := i.callFrom(address, "POST", "/api/v1/users/", fmt.Sprintf(`{"name": "Grace Hopper", "email": %q, "password": %q}`, email, goodPassword))
		return r.Status == 201
	}, "registered")
	return email
}

func TestGuessingIsSlowFromAnyAddressAndTheOwnerGetsIn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t, limited), s.start(t, limited)
	home := visitor()
	email := a.registered(home)
	require.GreaterOrEqual(t, a.guess(email), 10)
	a.refuses(strings.ToUpper(email))

	for n := range 20 {
		i := []*instance{a, b}[n%2]
		require.Equal(t, 200, i.loginFrom(home, email, goodPassword).Status, "from a known address, any number of times, on any instance")
	}
	b.refuses(email)
	require.Equal(t, 200, a.loginFrom(home, email, goodPassword).Status)
	other := a.registered(visitor())
	require.Equal(t, 200, a.loginFrom(visitor(), other, goodPassword).Status, "another account")
}

func TestGuessesFromAKnownAddressAreCountedToo(t *testing.T) {
	t.Parallel()
	i := newStack(t).start(t, limited)
	home := visitor()
	email := i.registered(home)
	refused := false
	for range 20 {
		r := i.loginFrom(home, email, "not the password")
		refused = refused || r.Status == 429
	}
	require.True(t, refused)
	require.Equal(t, 429, i.loginFrom(home, email, goodPassword).Status)
}

func TestManyGuessesAtOnceAreNoMoreThanOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	instances := []*instance{s.start(t, limited), s.start(t, limited)}
	servertest.Eventually(t, func() bool { // unless Redis was slow, and each counted for itself
		var all sync.WaitGroup
		var tried atomic.Int64
		email := uuid.NewString() + "@example.com"
		for n := range 40 {
			all.Go(func() {
				if instances[n%2].loginFrom(visitor(), email, "not the password").Status == 401 {
					tried.Add(1)
				}
			})
		}
		all.Wait()
		return tried.Load() <= 11 // one comes back every 30 s
	}, "the instances share the limit")
}

func TestRightPasswordOfAnInactiveAccountCountsLikeAWrongOne(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	email := i.registered(visitor())
	_, err := s.open(t).Exec(t.Context(), `UPDATE auth.accounts SET is_active = false`)
	require.NoError(t, err)
	here := visitor()
	left := func() string {
		t.Helper()
		r := i.loginFrom(here, email, goodPassword)
		require.Equal(t, 401, r.Status)
		return r.Header.Get("RateLimit-Remaining")
	}
	left() // what is given back to a full bucket stays taken, so the first tells nothing
	before := left()
	require.NotEqual(t, before, left())
}

func TestResetLiftsTheLimitAndTheOwnerStaysIn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	b := s.broker(t)
	home, moved := visitor(), visitor()
	email := i.registered(home)
	i.refuses(email)
	require.Equal(t, 200, i.callFrom(moved, "POST", "/api/v1/auth/password-reset/", fmt.Sprintf(`{"email": %q}`, email)).Status)
	const newPassword = "a horse of another colour"
	body := fmt.Sprintf(`{"token": %q, "password": %q, "password_confirm": %q}`, b.mail(email, "password_reset").token(), newPassword, newPassword)
	require.Equal(t, 200, i.callFrom(moved, "POST", "/api/v1/auth/password-reset/confirm/", body).Status)
	require.Equal(t, 200, i.loginFrom(visitor(), email, newPassword).Status, "lifted for all")
	i.guess(email)
	require.Equal(t, 200, i.loginFrom(moved, email, newPassword).Status, "who goes on guessing no longer matters")
}

func TestStolenTokenIsNoWayToGuessThePassword(t *testing.T) {
	t.Parallel()
	i := newStack(t).start(t, limited)
	email := i.registered(visitor())
	var k tokens
	i.loginFrom(visitor(), email, goodPassword).into(t, &k)
	tried := 0
	servertest.Eventually(t, func() bool {
		tried++
		r := i.callFrom(visitor(), "POST", "/api/v1/auth/password-change/",
			`{"current_password": "a guess of mine", "password": "a horse of another colour", "password_confirm": "a horse of another colour"}`, "Authorization", "Bearer "+k.AccessToken)
		if r.Status != 429 {
			return false
		}
		requireRefused(t, r)
		return true
	}, "refused")
	require.Less(t, tried, 50, "long before the user is slowed in everything")
}

func TestEachOpenRouteSlowsAnAddress(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	other := s.start(t, func(c *config) { c.RateLimit = true }) // trusts nobody
	for _, path := range []string{
		"/users", "/auth/register/", "/auth/login/", "/auth/refresh/", "/auth/verify-email/", "/auth/verify-email/resend/", "/auth/password-reset/",
		"/auth/password-reset/confirm",
	} {
		address, allowed := visitor(), 0
		servertest.Eventually(t, func() bool {
			r := i.callFrom(address, "POST", "/api/v1"+path, "")
			if r.Status == 429 {
				requireRefused(t, r)
				return true
			}
			require.NotEmpty(t, r.Header.Get("RateLimit-Remaining"), path)
			require.NotEmpty(t, r.Header.Get("RateLimit-Limit"), path)
			allowed++
			return false
		}, "refused at %s", path)
		require.GreaterOrEqual(t, allowed, 10, path)
		require.NotEqual(t, 429, i.callFrom(visitor(), "POST", "/api/v1"+path, "").Status, "another client of the proxy, at %s", path)
	}
	servertest.Eventually(t, func() bool {
		return other.callFrom(visitor(), "POST", "/api/v1/auth/password-reset/", "").Status == 429
	}, "without a trusted proxy an address is nobody's word")
}

// TestMailsToOneAddressAreFewWhoeverAsks, and nobody is refused: a refusal would keep the owner from it.
func TestMailsToOneAddressAreFewWhoeverAsks(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	body := fmt.Sprintf(`{"email": %q}`, i.registered(visitor()))
	for _, path := range []string{resetPath, resendPath} {
		for range 20 {
			require.Equal(t, 200, i.callFrom(visitor(), "POST", path, body).Status)
		}
	}
	s.wishesGranted(t)
	require.Equal(t, 2, count(t, s.open(t), `SELECT sum(sent) FROM auth.one_time_tokens`), "one for the registration, one for the reset")
}

func TestUserIsSlowedGenerouslyAndASiblingNever(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	k := i.register()
	key, err := i.app.auth.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	ask := func(path, header, value string, times int) (refused int) {
		t.Helper()
		var all sync.WaitGroup
		var n atomic.Int64
		for range 8 {
			all.Go(func() {
				for range times / 8 {
					r := i.callFrom("203.0.113.7", "GET", path, "", header, value)
					if r.Status == 429 {
						n.Add(1)
						continue
					}
					require.Equal(t, 200, r.Status)
				}
			})
		}
		all.Wait()
		return int(n.Load())
	}
	require.Zero(t, ask("/api/v1/users/profile/", "Authorization", "Bearer "+k.AccessToken, 240))
	require.Zero(t, ask("/api/v1/users/"+k.id()+"/", "X-API-Key", key, 1600))
	servertest.Eventually(t, func() bool { return ask("/api/v1/users/profile/", "Authorization", "Bearer "+k.AccessToken, 1600) > 0 }, "slowed")
	require.Equal(t, 200, i.call("GET", "/api/v1/users/profile/", i.register().AccessToken, nil).Status, "another user")
}

func TestWithoutRedisLimitsGoOnAndNobodyIsFailed(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.RedisURL)
	i := s.start(t, limited, func(c *config) { c.RedisURL = through })
	home := visitor()
	email := i.registered(home)
	i.guess(email)
	for _, away := range []func(){
		proxy.Cut,
		func() {
			proxy.Restore()
			proxy.Disturb(`{"name": "silent", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
		},
	} {
		away()
		require.GreaterOrEqual(t, i.guess(uuid.NewString()+"@example.com"), 10)
		i.guess(email)
		require.Equal(t, 200, i.loginFrom(home, email, goodPassword).Status, "this instance knows the address")
		address := visitor()
		servertest.Eventually(t, func() bool {
			r := i.callFrom(address, "POST", "/api/v1/auth/refresh/", `{"refresh": "none"}`)
			require.Contains(t, []int{401, 429}, r.Status)
			return r.Status == 429
		}, "an address is slowed")
	}
}

func TestLimitsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	i := newStack(t).start(t)
	for range 100 {
		r := i.call("POST", "/api/v1/auth/refresh/", "", map[string]any{"refresh": "none"})
		require.Equal(t, 401, r.Status)
		require.Empty(t, r.Header.Get("RateLimit-Limit"))
	}
}

// TestStrangerAtOneAddressKeepsNobodyOut has somebody guess and ask for resets at full pace, while the
// owner comes from an address that the account does not know.
func TestStrangerAtOneAddressKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, limited)
	email := i.registered(visitor())
	stranger := visitor()
	servertest.Eventually(t, func() bool { return i.loginFrom(stranger, email, "wrong").Status == 429 }, "the stranger is slowed")
	reset := fmt.Sprintf(`{"email": %q}`, email)
	servertest.Eventually(t, func() bool { return i.callFrom(stranger, "POST", resetPath, reset).Status == 429 }, "there too")
	require.Equal(t, 200, i.callFrom(visitor(), "POST", resetPath, reset).Status, "always the same")
	require.Equal(t, 200, i.loginFrom(visitor(), email, goodPassword).Status)
	require.Positive(t, count(t, s.open(t), `SELECT count(*) FROM auth.audit_log WHERE action = 'login_refused'`))
}
