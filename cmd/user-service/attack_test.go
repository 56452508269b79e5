package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"user-service/modules/auth"
)

// What an attacker tries with requests. What one tries with the parts of a token is in modules/auth.

// TestForgedTokensOpenNothing sends tokens that only look like ours to every route that asks for one.
func TestForgedTokensOpenNothing(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	victim := s.staff(i)
	parts := strings.Split(victim.AccessToken, ".")
	segment := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	now := time.Now()
	forged := map[string]string{
		"alg none":            segment(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg None":            segment(`{"alg":"None"}`) + "." + parts[1] + "." + parts[2],
		"signature left out":  parts[0] + "." + parts[1] + ".",
		"other payload":       parts[0] + "." + segment(`{"sub":"`+victim.id()+`","user_id":"`+victim.id()+`","token_type":"access","iss":"user-service","exp":9999999999,"iat":1}`) + "." + parts[2],
		"refresh token":       victim.RefreshToken,
		"expired":             jwtWith(t, s, victim.AccessToken, map[string]any{"exp": now.Add(-31 * time.Second).Unix()}),
		"from the future":     jwtWith(t, s, victim.AccessToken, map[string]any{"iat": now.Add(time.Minute).Unix()}),
		"other issuer":        jwtWith(t, s, victim.AccessToken, map[string]any{"iss": "template-service"}),
		"refresh as access":   jwtWith(t, s, victim.AccessToken, map[string]any{"token_type": "refresh"}),
		"no type":             jwtWith(t, s, victim.AccessToken, map[string]any{"token_type": nil}),
		"never expires":       jwtWith(t, s, victim.AccessToken, map[string]any{"exp": nil}),
		"text for an id":      jwtWith(t, s, victim.AccessToken, map[string]any{"sub": "admin"}),
		"session of somebody": jwtWith(t, s, victim.AccessToken, map[string]any{"sid": "nonsense"}),
	}
	wrongKey, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": victim.id(), "user_id": victim.id(), "sid": uuid.NewString(), "token_type": "access", "iss": "user-service",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte("secret"))
	require.NoError(t, err)
	forged["guessed key"] = wrongKey
	for _, route := range i.app.router.Routes() {
		if route.Access == 0 { // open
			continue
		}
		path := "/api/v1" + filled(route.Path, victim.id())
		for name, token := range forged {
			r := i.call(route.Method, path, token, map[string]any{"is_staff": true})
			require.Equal(t, 401, r.Status, "%s: %s %s", name, route.Method, path)
			require.Contains(t, []string{"token_invalid", "token_expired"}, r.Error)
		}
		require.Equal(t, "not_authenticated", i.call(route.Method, path, "", map[string]any{}).Error, "%s %s", route.Method, path)
	}
	require.Equal(t, 200, i.call("GET", "/api/v1/users/me/", victim.AccessToken, nil).Status)
}

// TestUserReachesNothingOfStaffOrSiblings tries every route with the token of an ordinary user.
func TestUserReachesNothingOfStaffOrSiblings(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	victim, attacker := i.register(), i.register()
	tried := 0
	for _, route := range i.app.router.Routes() {
		if strings.Contains(route.Path, "/users/{id}/") {
			tried++
			path := "/api/v1" + filled(route.Path, victim.id())
			r := i.call(route.Method, path, attacker.AccessToken, map[string]any{"is_staff": true})
			require.Equal(t, "forbidden", r.Error, "%s %s", route.Method, path)
		}
	}
	require.GreaterOrEqual(t, tried, 6)
}

func TestFieldsThatAreNotAUsersToSetAreIgnored(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	stolen := uuid.NewString()
	forbidden := map[string]any{
		"id": stolen, "user_id": stolen, "sub": stolen, "is_staff": true, "is_superuser": true, "is_active": false, "email_verified": true,
		"version": 99, "created_at": "2000-01-01T00:00:00Z", "password_hash": "x", "role": "admin", "permissions": []string{"*"},
		"__proto__": map[string]any{"is_staff": true}, "IS_STAFF": true, "Is_Staff": true,
	}
	k := i.register(func(body map[string]any) {
		maps.Copy(body, forbidden)
	})
	patch := map[string]any{"name": "Renamed", "email": "other@example.com", "password": otherPassword}
	maps.Copy(patch, forbidden)
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/profile/", k.AccessToken, patch).Status)
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"user_id": stolen, "is_active": false, "push": true}).Status)
	var user map[string]any
	i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).into(t, &user)
	require.NotEqual(t, stolen, user["id"])
	require.Equal(t, k.id(), user["user_id"])
	require.Equal(t, "Renamed", user["name"])
	for name, want := range map[string]any{"is_staff": false, "is_active": true, "email_verified": false, "email": k.User["email"]} {
		require.Equal(t, want, user[name], name)
	}
	require.Equal(t, "forbidden", i.call("PATCH", "/api/v1/users/"+k.id()+"/", k.AccessToken, map[string]any{"is_staff": true}).Error)
	i.login(k) // with the password of before
}

// TestFiveHundredRegistrationsOfOneAddressMakeOneAccount sends them all at once.
func TestFiveHundredRegistrationsOfOneAddressMakeOneAccount(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for n := range 500 {
		all.Go(func() {
			body, _ := json.Marshal(map[string]any{"name": "One", "email": []string{"one@example.com", "ONE@example.com"}[n%2], "password": goodPassword})
			w := i.serve("POST", "/api/v1/users/", body)
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
			if w.Code == 400 {
				assert.Contains(t, w.Body.String(), `"errors":{"email":["A user with this email already exists."]}`)
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, statuses[201], "%v", statuses)
	require.Positive(t, statuses[400], "%v: those that were not too many are told", statuses)
	require.Equal(t, 500, statuses[201]+statuses[400]+statuses[503], "%v: taken, or too busy to hash", statuses)
	for _, table := range []string{"auth.accounts", "profile.users", "preferences.preferences", "push.recipients"} {
		var rows int
		require.NoError(t, s.open(t).Get(t.Context(), &rows, `SELECT count(*) FROM `+table))
		require.Equal(t, 1, rows, table)
	}
}

// serve answers a request without a network in between.
func (i *instance) serve(method, path string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	i.app.router.ServeHTTP(w, req)
	return w
}

// TestTimeOfALoginTellsNobodyWhetherAnAccountExists measures a wrong password, an unknown address and
// an inactive account in turn, and looks at their medians as an attacker would. On a busy machine it
// takes more rounds to see through the noise; a difference that is there remains. It runs before those of
// this package that run beside each other.
func TestTimeOfALoginTellsNobodyWhetherAnAccountExists(t *testing.T) {
	program, err := binary()
	require.NoError(t, err)
	i := newStack(t).start(t, func(c *config) { c.HashCost, c.HashCommand = auth.DefaultCost, []string{program, "hash"} }) // as in production
	known, inactive := i.register(), i.register()
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", inactive.AccessToken, nil).Status)
	kinds := []struct{ email, password any }{
		{known.User["email"], "wrong password"}, {"nobody@example.com", goodPassword}, {inactive.User["email"], goodPassword},
	}
	took := make([][]time.Duration, len(kinds))
	var medians []time.Duration
	for round := 1; round <= 300; round++ {
		for n := range kinds {
			kind := (n + round) % len(kinds)
			body := fmt.Appendf(nil, `{"email": %q, "password": %q}`, kinds[kind].email, kinds[kind].password)
			began := time.Now()
			w := i.serve("POST", "/api/v1/auth/login/", body)
			took[kind] = append(took[kind], time.Since(began))
			require.Equal(t, http.StatusUnauthorized, w.Code)
		}
		if round%20 != 0 {
			continue
		}
		medians = medians[:0]
		for _, times := range took {
			sorted := slices.Sorted(slices.Values(times))
			medians = append(medians, sorted[len(sorted)/2])
		}
		if float64(slices.Max(medians)) <= 1.1*float64(slices.Min(medians)) {
			return
		}
	}
	require.Failf(t, "the medians differ by more than 10 %", "wrong password, unknown, inactive: %v", medians)
}

// TestRegistrationAloneTellsOfAnAccount compares every other answer about an address that has an
// account with the answer about one that has none.
func TestRegistrationAloneTellsOfAnAccount(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	k := i.register()
	for path, body := range map[string]map[string]any{
		"/api/v1/auth/login/": {"password": "wrong password"}, resendPath: {}, resetPath: {},
	} {
		var answers [2]string
		for n, email := range []any{k.User["email"], "nobody@example.com"} {
			body["email"] = email
			encoded, _ := json.Marshal(body)
			w := i.serve("POST", path, encoded)
			answers[n] = fmt.Sprint(w.Code, w.Header(), w.Body)
		}
		require.Equal(t, answers[0], answers[1], path)
	}
	taken := map[string]any{"name": "Eve", "email": strings.ToUpper(k.User["email"].(string)), "password": goodPassword}
	r := i.call("POST", "/api/v1/auth/register/", "", taken)
	require.Equal(t, map[string][]string{"email": {"A user with this email already exists."}}, r.Errors)
}
