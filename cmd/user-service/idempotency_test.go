package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// once sends a request under an X-Request-ID.
func (i *instance) once(id, method, path, token string, body map[string]any) reply {
	i.t.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(i.t, err)
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, bytes.NewReader(encoded))
	require.NoError(i.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-ID", id)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return i.do(req)
}

// requireReplay compares everything but what belongs to the request itself.
func requireReplay(t *testing.T, first, repeat reply) {
	t.Helper()
	require.Empty(t, first.Header.Get("Idempotency-Replayed"))
	require.Equal(t, "true", repeat.Header.Get("Idempotency-Replayed"))
	require.NotEqual(t, first.Header.Get("X-Correlation-ID"), repeat.Header.Get("X-Correlation-ID"))
	first.Header, repeat.Header = nil, nil
	require.Equal(t, first, repeat)
}

func newUser() map[string]any {
	return map[string]any{"name": "Grace", "email": uuid.NewString() + "@example.com", "password": goodPassword}
}

func TestRepeatIsAnsweredAsTheFirst(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	listening := s.broker(t).listen()
	body := newUser()
	id := "a b~" + strings.Repeat("x", 251) // 255 printable characters
	first := a.once(id, "POST", "/api/v1/users/", "", body)
	require.Equal(t, 201, first.Status, first.Error)
	requireReplay(t, first, b.once(id, "POST", "/api/v1/users", "", body))
	requireReplay(t, first, a.once(id, "POST", "/api/v1/users/", "", body))
	var k tokens
	first.into(t, &k)

	change := map[string]any{"email": false}
	first = b.once("one", "PATCH", "/api/v1/users/preferences/", k.AccessToken, change)
	require.Equal(t, 200, first.Status)
	require.Equal(t, 200, a.once("two", "PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": true}).Status)
	requireReplay(t, first, a.once("one", "PATCH", "/api/v1/users/preferences/", k.AccessToken, change))
	var now map[string]any
	a.call("GET", "/api/v1/users/preferences/", k.AccessToken, nil).into(t, &now)
	require.Equal(t, true, now["email"], "a replay changes nothing")
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.preferences_changed")) == 2 }, "one event for each change")

	wrong := map[string]any{"email": "perhaps"}
	first = a.once("three", "PATCH", "/api/v1/users/preferences/", k.AccessToken, wrong)
	require.Equal(t, "validation_failed", first.Error)
	requireReplay(t, first, b.once("three", "PATCH", "/api/v1/users/preferences/", k.AccessToken, wrong))
	first = a.once("four", "POST", "/api/v1/auth/login/", "", map[string]any{"email": "nobody@example.com", "password": "wrong"})
	again := a.once("four", "POST", "/api/v1/auth/login/", "", map[string]any{"email": "nobody@example.com", "password": "wrong"})
	require.Equal(t, `Bearer realm="user-service"`, again.Header.Get("WWW-Authenticate"))
	requireReplay(t, first, again)
}

func TestRequestIDIsOfOnePrincipalMethodPathAndBody(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	one, two := i.register(), i.register()
	rename := map[string]any{"name": "Renamed"}
	require.Equal(t, 200, i.once("id", "PATCH", "/api/v1/users/profile/", one.AccessToken, rename).Status)
	r := i.once("id", "PATCH", "/api/v1/users/profile/", one.AccessToken, map[string]any{"name": "Another"})
	require.Equal(t, 422, r.Status)
	require.Equal(t, "request_id_reused", r.Error)
	for _, other := range []reply{
		i.once("id", "PATCH", "/api/v1/users/profile/", two.AccessToken, rename),
		i.once("id", "PATCH", "/api/v1/users/me/", one.AccessToken, rename),
		i.once("id", "PATCH", "/api/v1/users/preferences/", one.AccessToken, rename),
		i.once("ID", "PATCH", "/api/v1/users/profile/", one.AccessToken, rename),
		i.once("id", "PATCH", "/api/v1/users/profile/", i.login(one).AccessToken, rename), // the same user
	} {
		require.Equal(t, 200, other.Status)
	}
	require.Equal(t, 401, i.once("id", "PATCH", "/api/v1/users/profile/", "", rename).Status, "who repeats must prove who it is")
	require.Equal(t, 200, i.once("get", "GET", "/api/v1/users/profile/", one.AccessToken, nil).Status)
	var names map[string]any
	r = i.once("get", "GET", "/api/v1/users/profile/", one.AccessToken, nil)
	r.into(t, &names)
	require.Empty(t, r.Header.Get("Idempotency-Replayed"), "reading needs no protection")
	require.Equal(t, "Renamed", names["name"])
}

func TestMalformedRequestIDIsNamed(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	for _, ids := range [][]string{{""}, {strings.Repeat("x", 256)}, {"ümlaut"}, {"one", "two"}, {"tab\tinside"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.base+"/api/v1/users/", strings.NewReader("{}"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header["X-Request-Id"] = ids
		r := i.do(req)
		require.Equal(t, 400, r.Status, ids)
		require.Equal(t, []string{"X-Request-ID"}, slices.Collect(maps.Keys(r.Errors)), ids)
	}
}

// TestTwentyFirstsAtOnceMakeOneAccount sends them to two instances.
func TestTwentyFirstsAtOnceMakeOneAccount(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	instances := [2]*instance{a, b}
	body := newUser()
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	ids := map[string]bool{}
	for n := range 20 {
		all.Go(func() {
			r := instances[n%2].once("at once", "POST", "/api/v1/users/", "", body)
			mu.Lock()
			defer mu.Unlock()
			statuses[r.Status]++
			switch r.Status {
			case 201:
				var k tokens
				r.into(t, &k)
				ids[k.id()] = true
			case 409:
				require.Equal(t, "request_in_progress", r.Error)
				require.Equal(t, "1", r.Header.Get("Retry-After"))
			}
		})
	}
	all.Wait()
	require.Equal(t, 20, statuses[201]+statuses[409], "%v", statuses)
	require.Positive(t, statuses[201])
	require.Len(t, ids, 1)
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM auth.accounts WHERE email = $1`, body["email"]))
	require.Equal(t, 201, instances[1].once("at once", "POST", "/api/v1/users/", "", body).Status)
}

// locked holds a user's preferences, so that a change of them waits, until fn returns.
func (s *stack) locked(t *testing.T, k tokens, fn func()) {
	t.Helper()
	db := s.open(t)
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := db.Exec(ctx, `SELECT FROM preferences.preferences WHERE user_id = $1 FOR UPDATE`, k.id())
		fn()
		return err
	}))
}

// waitsForLock waits until n statements of the service wait for a lock.
func (s *stack) waitsForLock(t *testing.T, n int) {
	t.Helper()
	db := s.open(t)
	servertest.Eventually(t, func() bool {
		return count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == n
	}, "%d statements that wait", n)
}

func TestRepeatOfARunningRequestIsToldToComeBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	k := a.register()
	off := map[string]any{"push": false}
	first := make(chan reply, 1)
	s.locked(t, k, func() {
		go func() { first <- a.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off) }()
		s.waitsForLock(t, 1)
		for _, i := range []*instance{a, b} {
			r := i.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off)
			require.Equal(t, 409, r.Status)
			require.Equal(t, "request_in_progress", r.Error)
			require.Equal(t, "1", r.Header.Get("Retry-After"))
			r = i.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"push": true})
			require.Equal(t, 422, r.Status)
		}
	})
	done := <-first
	require.Equal(t, 200, done.Status)
	requireReplay(t, done, b.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off))
}

// TestWhoWasThoughtDeadCannotCommit lets the lease of a request end while it works: an instance that
// was stopped and goes on, say.
func TestWhoWasThoughtDeadCannotCommit(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	a, b := s.start(t), s.start(t)
	listening := s.broker(t).listen()
	k := a.register()
	off := map[string]any{"push": false}
	replies := make(chan reply, 2)
	s.locked(t, k, func() {
		go func() { replies <- a.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off) }()
		s.waitsForLock(t, 1)
		s.exec(t, `UPDATE idempotency.requests SET lease_until = now() - interval '1 second'`)
		go func() { replies <- b.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off) }()
		s.waitsForLock(t, 2)
	})
	first, second := <-replies, <-replies
	require.ElementsMatch(t, []int{200, 409}, []int{first.Status, second.Status})
	require.Equal(t, 200, a.once("slow", "PATCH", "/api/v1/users/preferences/", k.AccessToken, off).Status)
	require.Equal(t, 2, count(t, s.open(t), `SELECT version FROM preferences.preferences WHERE user_id = $1`, k.id()), "changed once")
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.preferences_changed")) == 1 }, "the event")
}

// TestRequestThatEndedItsSessionIsRepeated, by a client that never saw the reply.
func TestRequestThatEndedItsSessionIsRepeated(t *testing.T) {
	t.Parallel()
	_, a, b := shared(t)
	for _, request := range []struct {
		method, path string
		body         map[string]any
	}{
		{"POST", "/api/v1/auth/logout/", nil},
		{"POST", changePath, map[string]any{"current_password": goodPassword, "password": otherPassword, "password_confirm": otherPassword}},
		{"DELETE", "/api/v1/users/me/", nil},
	} {
		k := a.register()
		rename := map[string]any{"name": "Renamed"}
		require.Equal(t, 200, a.once("earlier", "PATCH", "/api/v1/users/me/", k.AccessToken, rename).Status)
		first := a.once("last", request.method, request.path, k.AccessToken, request.body)
		require.Equal(t, 200, first.Status, "%s %s", request.path, first.Error)
		for _, i := range []*instance{a, b} {
			requireReplay(t, first, i.once("last", request.method, request.path, k.AccessToken, request.body))
			i.refusesWithinASecond(k.AccessToken, time.Now())
			requireReplay(t, first, i.once("last", request.method, request.path, k.AccessToken, request.body))
			require.Equal(t, "token_invalid", i.once("next", request.method, request.path, k.AccessToken, request.body).Error)
			require.Equal(t, "token_invalid", i.once("earlier", "PATCH", "/api/v1/users/me/", k.AccessToken, rename).Error, "what it did before is not told any more")
		}
	}
}

func TestTooManyRequestsAreNotKept(t *testing.T) {
	t.Parallel()
	i := newStack(t).start(t, limited)
	body := map[string]any{"email": "nobody@example.com", "password": "wrong"}
	servertest.Eventually(t, func() bool { return i.call("POST", "/api/v1/auth/login/", "", body).Status == 429 }, "a limit")
	require.Equal(t, 429, i.once("limited", "POST", "/api/v1/auth/login/", "", body).Status)
	require.Zero(t, count(t, i.app.db, `SELECT count(*) FROM idempotency.requests`))
}

func TestKeptRepliesShowNothingToWhoReadsTheDatabase(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	body := newUser()
	r := i.once("a telling id", "POST", "/api/v1/users/", "", body)
	var k tokens
	r.into(t, &k)
	var row struct{ Key, Fingerprint, Reply []byte }
	require.NoError(t, s.open(t).Get(t.Context(), &row, `SELECT key, fingerprint, reply FROM idempotency.requests`))
	all := string(slices.Concat(row.Key, row.Fingerprint, row.Reply))
	for _, secret := range []string{k.AccessToken, k.RefreshToken, k.id(), goodPassword, body["email"].(string), "a telling id", "success"} {
		require.NotContains(t, all, secret)
	}
	require.Greater(t, len(row.Reply), len(k.AccessToken))
}

// TestKillNeitherLosesNorRepeatsTheEffect kills an instance around the commit of a registration. Every
// commit has to pass a gate, which is a lock of the database.
func TestKillNeitherLosesNorRepeatsTheEffect(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	db, survivor := s.open(t), s.start(t)
	s.exec(t, `CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$`)
	s.exec(t, `CREATE CONSTRAINT TRIGGER gate AFTER UPDATE ON idempotency.requests DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate()`)
	kept := func() bool {
		return count(t, db, `SELECT count(*) FROM idempotency.requests WHERE reply IS NOT NULL`) == 1
	}
	for _, test := range []struct {
		name        string
		atTheGate   func(p *process, proxy *servertest.Proxy)
		behindIt    func(p *process)
		takesEffect bool // before the instance dies
	}{
		{"before the commit", func(p *process, _ *servertest.Proxy) {
			p.kill()
			s.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`)
		}, func(*process) {}, false},
		{"while it commits", func(p *process, _ *servertest.Proxy) { p.kill() }, func(*process) {
			servertest.Eventually(t, kept, "the commit that was asked for")
		}, true},
		{"after the commit, of which it has not heard", func(_ *process, proxy *servertest.Proxy) {
			proxy.Disturb(`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
		}, func(p *process) {
			servertest.Eventually(t, kept, "the commit")
			p.kill()
		}, true},
	} {
		proxy, through := servertest.NewProxy(t, s.config.DatabaseURL)
		p := s.run(t, "DATABASE_URL="+through)
		body := newUser()
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Exec(ctx, `SELECT pg_advisory_xact_lock(42)`)
			go p.tryOnce(test.name, "/api/v1/users/", body)
			s.waitsForLock(t, 1)
			test.atTheGate(p, proxy)
			return err
		}))
		test.behindIt(p)

		r := survivor.once(test.name, "POST", "/api/v1/users/", "", body)
		if !test.takesEffect {
			require.Equal(t, "request_in_progress", r.Error, "%s: nobody can tell whether it goes on", test.name)
			s.exec(t, `UPDATE idempotency.requests SET lease_until = now() - interval '1 second'`)
			r = survivor.once(test.name, "POST", "/api/v1/users/", "", body)
		}
		require.Equal(t, 201, r.Status, "%s: %s %v", test.name, r.Error, r.Errors)
		require.Equal(t, test.takesEffect, r.Header.Get("Idempotency-Replayed") == "true", test.name)
		var k tokens
		r.into(t, &k)
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.accounts`), test.name)
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.audit_log WHERE action = 'registered'`), test.name)
		require.Equal(t, 200, survivor.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status, test.name)
		s.exec(t, `TRUNCATE auth.accounts, auth.audit_log, idempotency.requests CASCADE`)
	}
}

// tryOnce sends a request whose instance may die.
func (p *process) tryOnce(id, path string, body map[string]any) {
	encoded, _ := json.Marshal(body)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.base+path, bytes.NewReader(encoded))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-ID", id)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}
