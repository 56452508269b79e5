package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// TestFiftyUsersReadTheirOwnWrites goes through the main job of 50 users at once, each request at
// another of two instances.
func TestFiftyUsersReadTheirOwnWrites(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	instances := [2]*instance{s.start(t), s.start(t)}
	var users sync.WaitGroup
	for n := range 50 {
		users.Go(func() {
			a, b := instances[n%2], instances[(n+1)%2]
			k := a.register(func(body map[string]any) { body["name"] = fmt.Sprintf("User %d", n) })
			require.Equal(t, "Bearer", k.TokenType)
			require.Equal(t, 3600, k.ExpiresIn)
			for round := range 4 {
				email, push := round%2 == 0, round%3 == 0
				patched := a.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": email, "push": push})
				require.Equal(t, 200, patched.Status)
				for _, i := range []*instance{b, a} {
					var user struct {
						Name        string
						Preferences map[string]bool
					}
					i.call("GET", "/api/v1/users/profile", k.AccessToken, nil).into(t, &user)
					require.Equal(t, map[string]bool{"email": email, "push": push}, user.Preferences)
					require.Equal(t, fmt.Sprintf("User %d", n), user.Name)
					var preferences map[string]bool
					i.call("GET", "/api/v1/users/preferences/", k.AccessToken, nil).into(t, &preferences)
					require.Equal(t, user.Preferences, preferences)
				}
			}
		})
	}
	users.Wait()
}

// TestRefusalByAnyModuleLeavesNothing makes each table in turn refuse a registration.
func TestRefusalByAnyModuleLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, db := s.start(t), s.open(t)
	ctx := t.Context()
	_, err := db.Exec(ctx, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END'`)
	require.NoError(t, err)
	var tables []string
	require.NoError(t, db.Select(ctx, &tables, `
		SELECT table_schema || '.' || table_name FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema', 'public', 'cache')`))
	for _, refusing := range []string{
		"auth.accounts", "auth.sessions", "auth.refresh_tokens", "auth.one_time_tokens", "auth.audit_log",
		"profile.users", "preferences.preferences", "push.recipients", "messaging.sequences", "messaging.outbox",
	} {
		_, err := db.Exec(ctx, `CREATE TRIGGER refuse BEFORE INSERT ON `+refusing+` FOR EACH ROW EXECUTE FUNCTION refuse()`)
		require.NoError(t, err)
		r := i.call("POST", "/api/v1/auth/register", "", map[string]any{"name": "Nobody", "email": "nobody@example.com", "password": goodPassword})
		require.Equal(t, 500, r.Status, refusing)
		require.Equal(t, "internal_error", r.Error)
		require.NotContains(t, r.Message, "refused")
		for _, table := range tables {
			var rows int
			require.NoError(t, db.Get(ctx, &rows, `SELECT count(*) FROM `+table))
			require.Zero(t, rows, "%s refused and %s has a row", refusing, table)
		}
		_, err = db.Exec(ctx, `DROP TRIGGER refuse ON `+refusing)
		require.NoError(t, err)
	}
	i.register(func(body map[string]any) { body["email"] = "nobody@example.com" })
}

func TestDeletedAccountIsRefusedAtOnceAndByOthersWithinASecond(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	listening := s.broker(t).listen()
	k := a.register()
	body := map[string]any{"email": k.User["email"], "password": goodPassword}
	var second tokens
	a.call("POST", "/api/v1/auth/login/", "", body).into(t, &second)
	require.Equal(t, 200, b.call("GET", "/api/v1/users/me", second.AccessToken, nil).Status)

	require.Equal(t, 200, a.call("DELETE", "/api/v1/users/profile/", k.AccessToken, nil).Status)
	deleted := time.Now()
	for _, token := range []string{k.AccessToken, second.AccessToken} {
		r := a.call("GET", "/api/v1/users/profile/", token, nil)
		require.Equal(t, 401, r.Status)
		require.Equal(t, "token_invalid", r.Error)
		require.Contains(t, r.Header.Get("WWW-Authenticate"), "Bearer")
	}
	for _, request := range [][2]string{
		{"GET", "/api/v1/users/profile/"}, {"PATCH", "/api/v1/users/profile/"}, {"GET", "/api/v1/users/preferences/"}, {"PATCH", "/api/v1/users/preferences/"},
	} {
		r := b.call(request[0], request[1], second.AccessToken, map[string]any{"name": "Zombie", "push": false})
		require.Equal(t, 401, r.Status, "%v, before the other instance can have heard of the session", request)
	}
	b.refusesWithinASecond(second.AccessToken, deleted)
	require.Equal(t, "invalid_credentials", b.call("POST", "/api/v1/auth/login/", "", body).Error)
	require.Equal(t, 401, b.call("POST", "/api/v1/auth/refresh/", "", map[string]any{"refresh": second.RefreshToken}).Status)

	servertest.Eventually(t, func() bool {
		return len(listening.of(k.id(), "user.deactivated", "session.revoked")) == 2
	}, "the events of a deletion")
	for _, e := range listening.of(k.id(), "user.deactivated") {
		require.Equal(t, map[string]any{"user_id": k.id(), "by": k.id()}, e.Data)
	}
	for _, e := range listening.of(k.id(), "session.revoked") {
		require.Nil(t, e.Data["session_id"])
	}
}

// TestEveryChangeIsToldOnceAndNoChangeIsNot reads the events of one user's life.
func TestEveryChangeIsToldOnceAndNoChangeIsNot(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	listening := s.broker(t).listen()
	k := i.register(func(body map[string]any) { body["preferences"] = map[string]any{"email": false} })
	require.Equal(t, map[string]any{"email": false, "push": true}, k.User["preferences"])
	profile, preferences := "/api/v1/users/profile/", "/api/v1/users/preferences/"
	for range 2 { // the second time nothing changes
		require.Equal(t, 200, i.call("PATCH", profile, k.AccessToken, map[string]any{"name": "Rear Admiral"}).Status)
	}
	for range 2 {
		require.Equal(t, 200, i.call("PATCH", profile, k.AccessToken, map[string]any{"push_token": nil}).Status)
	}
	for range 2 {
		require.Equal(t, 200, i.call("PATCH", preferences, k.AccessToken, map[string]any{"email": true, "push": true}).Status)
	}
	require.Equal(t, 200, i.call("PATCH", preferences, k.AccessToken, map[string]any{}).Status)
	i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": goodPassword})

	all := []string{"user.registered", "user.profile_updated", "user.push_token_changed", "user.preferences_changed", "user.logged_in"}
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.logged_in")) == 1 }, "the last event")
	told := listening.of(k.id(), all...)
	require.Len(t, told, 5)
	for n, e := range told {
		require.Equal(t, all[n], e.Type)
	}
	require.Equal(t, map[string]any{
		"user_id": k.id(), "email": k.User["email"], "name": "Grace Hopper", "push_token": k.User["push_token"],
		"preferences": map[string]any{"email": false, "push": true},
	}, told[0].Data)
	require.Equal(t, map[string]any{"user_id": k.id(), "name": "Rear Admiral", "changed": []any{"name"}}, told[1].Data)
	require.Equal(t, map[string]any{"user_id": k.id(), "push_token": nil, "reason": "user"}, told[2].Data)
	require.Equal(t, map[string]any{"user_id": k.id(), "email": true, "push": true, "changed": []any{"email"}}, told[3].Data)
	require.Equal(t, "/user-service/auth", told[0].Source)
	require.Less(t, told[0].Sequence, told[4].Sequence, "of one source")
}

func TestBadInputIsNamedFieldByField(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	r := i.call("POST", "/api/v1/users/", "", map[string]any{"name": " ", "email": "a@b", "password": "12345", "push_token": "with space"})
	require.Equal(t, 400, r.Status)
	require.Equal(t, "validation_failed", r.Error)
	require.Equal(t, map[string][]string{
		"name":  {"This field may not be blank."},
		"email": {"Enter a valid email address."},
		"password": {
			"This password is too short. It must contain at least 8 characters.", "This password is entirely numeric.",
		},
		"push_token": {"Only visible ASCII characters are allowed."},
	}, r.Errors)
	r = i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": 1})
	require.Equal(t, map[string][]string{"email": {"Must be a string."}, "password": {"This field is required."}}, r.Errors)
}

// TestProfileIsWordForWordTheSameFromTheCache, whatever its name looks like.
func TestProfileIsWordForWordTheSameFromTheCache(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	for _, name := range []string{`<b>Ada & Grace</b>`, `","is_active":false,"x":"`, `"is_active":false`, "Zoë \u2028 \\ 𝒜"} {
		k := i.register(func(body map[string]any) { body["name"] = name })
		read := func() string {
			w := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "/api/v1/users/profile/", nil)
			req.Header.Set("Authorization", "Bearer "+k.AccessToken)
			i.app.router.ServeHTTP(w, req)
			require.Equal(t, 200, w.Code, "%s", w.Body)
			return w.Body.String()
		}
		changed := i.call("PATCH", "/api/v1/users/profile/", k.AccessToken, map[string]any{"push_token": "another"})
		first := read()
		require.Equal(t, first, read())
		require.Contains(t, first, string(changed.Data))
		var user map[string]any
		i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).into(t, &user)
		require.Equal(t, name, user["name"])
	}
}
