package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

type session struct {
	ID         string
	Current    bool
	Address    string
	UserAgent  string    `json:"user_agent"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

func (i *instance) sessions(k tokens) (sessions []session) {
	i.t.Helper()
	r := i.call("GET", "/api/v1/auth/sessions/", k.AccessToken, nil)
	require.Equal(i.t, 200, r.Status, r.Error)
	r.into(i.t, &sessions)
	return sessions
}

func agent(name string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("User-Agent", name) }
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	listening := s.broker(t).listen()
	first := a.register()
	phone, tablet := b.login(first, agent("phone")), a.login(first, agent("tablet"))

	sessions := b.sessions(phone)
	require.Len(t, sessions, 3)
	byAgent := map[string]session{}
	for _, one := range sessions {
		byAgent[one.UserAgent] = one
		require.Equal(t, "127.0.0.1", one.Address)
		require.WithinDuration(t, time.Now(), one.CreatedAt, time.Minute)
		require.WithinDuration(t, one.LastUsedAt.Add(24*time.Hour), one.ExpiresAt, time.Second)
		require.Equal(t, one.UserAgent == "phone", one.Current)
	}

	require.Equal(t, 200, a.call("DELETE", "/api/v1/auth/sessions/"+byAgent["tablet"].ID+"/", phone.AccessToken, nil).Status)
	ended := time.Now()
	require.Equal(t, "token_invalid", a.call("GET", "/api/v1/users/me/", tablet.AccessToken, nil).Error, "at once")
	b.refusesWithinASecond(tablet.AccessToken, ended)
	_, r := b.refresh(tablet.RefreshToken)
	require.Equal(t, "token_invalid", r.Error)
	require.Len(t, a.sessions(phone), 2)

	require.Equal(t, 200, b.call("DELETE", "/api/v1/auth/sessions/", phone.AccessToken, nil).Status)
	require.Equal(t, "token_invalid", b.call("GET", "/api/v1/users/me/", first.AccessToken, nil).Error)
	a.refusesWithinASecond(first.AccessToken, time.Now())
	only := a.sessions(phone)
	require.Len(t, only, 1)
	require.True(t, only[0].Current)

	require.Equal(t, 200, a.call("POST", "/api/v1/auth/logout/", phone.AccessToken, nil).Status)
	require.Equal(t, "token_invalid", a.call("POST", "/api/v1/auth/logout/", phone.AccessToken, nil).Error)
	b.refusesWithinASecond(phone.AccessToken, time.Now())
	_, r = a.refresh(phone.RefreshToken)
	require.Equal(t, "token_invalid", r.Error)

	servertest.Eventually(t, func() bool { return len(listening.of(first.id(), "session.revoked")) == 3 }, "an event for each")
	told := listening.of(first.id(), "session.revoked")
	require.Equal(t, map[string]any{"user_id": first.id(), "session_id": byAgent["tablet"].ID, "reason": "revoked_by_user"}, told[0].Data)
	require.Equal(t, map[string]any{"user_id": first.id(), "session_id": only[0].ID, "reason": "logout"}, told[2].Data)
}

func TestNobodyEndsTheSessionOfAnother(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	owner, other := i.register(), i.register()
	id := i.sessions(owner)[0].ID
	for _, path := range []string{id, uuid.NewString(), "nonsense", "%00"} {
		r := i.call("DELETE", "/api/v1/auth/sessions/"+path+"/", other.AccessToken, nil)
		require.Equal(t, 404, r.Status, path)
		require.Equal(t, "not_found", r.Error)
	}
	require.Len(t, i.sessions(owner), 1)
}

// TestHundredAndFirstSessionEndsTheOneUsedLeastLately keeps an account from being filled with sessions.
func TestHundredAndFirstSessionEndsTheOneUsedLeastLately(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	k := i.register()
	_, err := s.open(t).Exec(t.Context(), `
		INSERT INTO auth.sessions (id, account_id, expires_at, last_used_at)
		SELECT gen_random_uuid(), $1, now() + interval '1 day', now() + n * interval '1 second' FROM generate_series(1, 99) n`, k.id())
	require.NoError(t, err)
	require.Len(t, i.sessions(k), 100)
	last := i.login(k)
	require.Equal(t, 401, i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status)
	require.Len(t, i.sessions(last), 100)
}

// TestSessionGetsNoOlderThanNinetyDays has its user sign in again, however often it is refreshed.
func TestSessionGetsNoOlderThanNinetyDays(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	k := i.register()
	s.exec(t, `UPDATE auth.sessions SET created_at = now() - interval '90 days' + interval '5 minutes' WHERE account_id = $1`, k.id())
	k, r := i.refresh(k.RefreshToken)
	require.Equal(t, 200, r.Status, r.Error)
	require.WithinDuration(t, time.Now().Add(5*time.Minute), i.sessions(k)[0].ExpiresAt, time.Minute)
}

// TestAccessTokenOfAnExpiredSessionIsEndedWithTheOthers is about the last one before the end of a session.
func TestAccessTokenOfAnExpiredSessionIsEndedWithTheOthers(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	first := i.register()
	expired, named := i.login(first, agent("expired")), i.login(first, agent("named"))
	var id string
	require.NoError(t, s.open(t).Get(t.Context(), &id, `
		WITH gone AS (UPDATE auth.sessions SET expires_at = now() - interval '1 second' WHERE account_id = $1 AND user_agent IN ('expired', 'named') RETURNING id, user_agent)
		SELECT id FROM gone WHERE user_agent = 'named'`, first.id()))
	require.Equal(t, 200, i.call("GET", "/api/v1/users/me/", expired.AccessToken, nil).Status)
	require.Equal(t, 200, i.call("DELETE", "/api/v1/auth/sessions/"+id, first.AccessToken, nil).Status)
	require.Equal(t, "token_invalid", i.call("GET", "/api/v1/users/me/", named.AccessToken, nil).Error)
	require.Equal(t, 200, i.call("DELETE", "/api/v1/auth/sessions/", first.AccessToken, nil).Status)
	require.Equal(t, "token_invalid", i.call("GET", "/api/v1/users/me/", expired.AccessToken, nil).Error)
	require.Equal(t, 200, i.call("GET", "/api/v1/users/me/", first.AccessToken, nil).Status)
}

// TestEndsOfOneAccountDoNotDeadlock lets everything that ends sessions meet at one account.
func TestEndsOfOneAccountDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	instances := [2]*instance{s.start(t), s.start(t)}
	admin, k := s.staff(instances[0]), instances[0].register()
	signIn := map[string]any{"email": k.User["email"], "password": goodPassword}
	change := map[string]any{"current_password": goodPassword, "password": otherPassword, "password_confirm": otherPassword}
	for round := range 6 {
		active := map[string]any{"is_active": true}
		require.Equal(t, 200, instances[0].call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, active).Status)
		k = instances[0].login(k)
		one, two, three := instances[0].login(k), instances[1].login(k), instances[0].login(k)
		s.exec(t, `
			INSERT INTO auth.sessions (id, account_id, expires_at, last_used_at)
			SELECT gen_random_uuid(), $1, now() + interval '1 hour', now() + interval '1 minute' FROM generate_series(1, 60)`, k.id())
		secret := sha256.Sum256([]byte(uuid.NewString()))
		stored := sha256.Sum256(secret[:])
		s.exec(t, `
			INSERT INTO auth.one_time_tokens (account_id, purpose, hash, expires_at, sent_at, counting_since)
			VALUES ($1, 'password_reset', $2, now() + interval '1 hour', now(), now())
			ON CONFLICT (account_id, purpose) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at`, k.id(), stored[:])
		reset := map[string]any{"token": base64.RawURLEncoding.EncodeToString(secret[:]), "password": goodPassword, "password_confirm": goodPassword}
		listed := instances[0].sessions(one)
		var all sync.WaitGroup
		for n, ask := range []func(i *instance) reply{
			func(i *instance) (r reply) { // one after another, while the others hash
				for _, session := range listed {
					if r = i.call("DELETE", "/api/v1/auth/sessions/"+session.ID, two.AccessToken, nil); r.Status == 401 {
						break
					}
				}
				return r
			},
			func(i *instance) reply { return i.call("DELETE", "/api/v1/auth/sessions/", three.AccessToken, nil) },
			func(i *instance) reply { return i.call("POST", "/api/v1/auth/logout/", three.AccessToken, nil) },
			func(i *instance) reply {
				return i.call("POST", "/api/v1/auth/password-change/", one.AccessToken, change)
			},
			func(i *instance) reply { return i.call("POST", confirmPath, "", reset) },
			func(i *instance) reply { return i.call("POST", "/api/v1/auth/login/", "", signIn) },
			func(i *instance) reply { _, r := i.refresh(one.RefreshToken); return r },
			func(i *instance) reply { _, r := i.refresh(two.RefreshToken); return r },
			func(i *instance) reply {
				return i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": round%2 == 0, "is_staff": round%2 == 0})
			},
		} {
			all.Go(func() { ask(instances[n%2]) })
		}
		all.Wait()
		s.exec(t, `UPDATE auth.accounts SET password = (SELECT password FROM auth.accounts WHERE id = $1) WHERE id = $2`, admin.id(), k.id())
	}
	s.requireNoDeadlock(t, instances[:]...)
}

// TestStaffAndUserMeetingAtOneUserDoNotDeadlock, whichever rows either of them changes.
func TestStaffAndUserMeetingAtOneUserDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	admin, k := s.staff(i), i.register()
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for round := range 40 {
				on := round%2 == 0
				switch n {
				case 0:
					i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": true, "is_staff": on})
				case 1:
					i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": on, "is_staff": on})
				case 2:
					i.call("PATCH", "/api/v1/users/preferences/", originalToken(t, s, k.id(), "access", time.Now()), map[string]any{"email": on})
				case 3:
					i.call("PATCH", "/api/v1/users/me/", originalToken(t, s, k.id(), "access", time.Now()), map[string]any{"push_token": uuid.NewString()})
				}
			}
		})
	}
	all.Wait()
	s.requireNoDeadlock(t, i)
}

// requireNoDeadlock stops the instances and asks the database, which learns of it from connections
// that end.
func (s *stack) requireNoDeadlock(t *testing.T, instances ...*instance) {
	t.Helper()
	for _, i := range instances {
		i.stop()
	}
	db := s.open(t)
	servertest.Eventually(t, func() bool {
		return count(t, db, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`) == 0
	}, "every connection has ended")
	require.Zero(t, count(t, db, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`))
}
