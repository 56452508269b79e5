package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/servertest"
)

// registerWith makes a user with this device token.
func (i *instance) registerWith(token string) tokens {
	i.t.Helper()
	return i.register(func(body map[string]any) { body["push_token"] = token })
}

// sendToken has a user register a device token, or none.
func (i *instance) sendToken(k tokens, token any) reply {
	i.t.Helper()
	r := i.call("PATCH", "/api/v1/users/profile/", k.AccessToken, map[string]any{"push_token": token})
	require.Equal(i.t, 200, r.Status, r.Error)
	return r
}

// deviceToken is the token that a user's profile shows.
func (i *instance) deviceToken(k tokens) any {
	i.t.Helper()
	var user map[string]any
	i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).into(i.t, &user)
	return user["push_token"]
}

// readFromCache waits until instances do so, which they do not from the start: a profile is then shown as
// it was, when its row is changed behind the service's back.
func (s *stack) readFromCache(t *testing.T, instances ...*instance) {
	t.Helper()
	k := instances[0].register()
	for _, i := range instances {
		servertest.Eventually(t, func() bool {
			before := i.deviceToken(k)
			s.exec(t, `UPDATE profile.users SET push_token = gen_random_uuid() WHERE id = $1`, k.id())
			return i.deviceToken(k) == before
		}, "the cache is in use")
	}
}

// tokenEvents are the events of a user that could tell of a device token.
func (e *events) tokenEvents(k tokens) (told []map[string]any) {
	for _, one := range e.of(k.id(), "user.push_token_changed", "user.profile_updated", "user.preferences_changed") {
		told = append(told, one.Data)
	}
	return told
}

func tokenChanged(k tokens, token any, reason string) map[string]any {
	return map[string]any{"user_id": k.id(), "push_token": token, "reason": reason}
}

func TestDeviceTokenMovesToWhoRegistersItLast(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	broker := s.broker(t)
	listening := broker.listen()
	fate := func(k tokens, outcome string) event {
		t.Helper()
		before := len(listening.of(k.id(), outcome))
		broker.push(pushBody(k.id(), uuid.NewString()))
		servertest.Eventually(t, func() bool { return len(listening.of(k.id(), outcome)) == before+1 }, "%s", outcome)
		return listening.of(k.id(), outcome)[before]
	}
	s.readFromCache(t, a, b)
	token := "device-" + uuid.NewString()
	first := a.registerWith(token)
	require.Equal(t, token, b.deviceToken(first)) // the profile is in the cache
	fate(first, "push.sent")

	second := a.registerWith(token)
	require.Nil(t, b.deviceToken(first))
	require.Nil(t, a.deviceToken(first))
	require.Equal(t, token, b.deviceToken(second))
	require.Equal(t, "no_push_token", fate(first, "push.skipped").Data["reason"])
	fate(second, "push.sent")
	require.Equal(t, []map[string]any{tokenChanged(first, nil, "moved")}, listening.tokenEvents(first))
	require.Empty(t, listening.tokenEvents(second), "the registration says it")

	a.sendToken(first, token)
	require.Nil(t, b.deviceToken(second))
	require.Equal(t, token, b.deviceToken(first))
	require.Equal(t, "no_push_token", fate(second, "push.skipped").Data["reason"])
	fate(first, "push.sent")
	require.Equal(t, []map[string]any{tokenChanged(second, nil, "moved")}, listening.tokenEvents(second))
	require.Equal(t, []map[string]any{tokenChanged(first, nil, "moved"), tokenChanged(first, token, "user")}, listening.tokenEvents(first))
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM profile.users WHERE id = $1 AND version = 2 AND push_token_at IS NULL AND updated_at > created_at`, second.id()))
}

// TestDeviceTokenOfManyIsLeftWithOne begins with what an import may bring.
func TestDeviceTokenOfManyIsLeftWithOne(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	listening := s.broker(t).listen()
	for name, takes := range map[string]func(token string, one tokens){
		"by one of them": func(token string, one tokens) { a.sendToken(one, token) },
		"by another":     func(token string, _ tokens) { a.sendToken(a.register(), token) },
		"by a new user":  func(token string, _ tokens) { a.registerWith(token) },
	} {
		token := "device-" + uuid.NewString()
		all := []tokens{a.register(), a.register(), a.register()}
		for _, k := range all {
			s.exec(t, `WITH one AS (UPDATE profile.users SET push_token = $2, push_token_at = NULL, version = version + 1 WHERE id = $1)
				UPDATE push.recipients SET push_token = $2 WHERE user_id = $1`, k.id(), token)
		}
		takes(token, all[0])
		for _, table := range []string{"profile.users", "push.recipients"} {
			require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM `+table+` WHERE push_token = $1`, token), "%s, %s", name, table)
		}
		require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM profile.users WHERE push_token = $1 AND push_token_at IS NOT NULL`, token), name)
		losers := all[1:]
		if name != "by one of them" {
			losers = all
		}
		for _, k := range losers {
			require.Nil(t, b.deviceToken(k), name)
			servertest.Eventually(t, func() bool { return len(listening.tokenEvents(k)) == 1 }, "the event, %s", name)
			require.Equal(t, []map[string]any{tokenChanged(k, nil, "moved")}, listening.tokenEvents(k), name)
		}
	}
}

func TestDeviceTokenThatManyTakeAtOnceIsWithOne(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.connections = 2 * testConnections
	instances := [2]*instance{s.start(t), s.start(t)}
	listening := s.broker(t).listen()
	const each, rounds = 10, 3
	for round := range rounds {
		token := fmt.Sprint("device-", round)
		var old, all []tokens
		for range each {
			old = append(old, instances[0].register())
		}
		var together sync.WaitGroup
		var mu sync.Mutex
		for n, k := range old {
			together.Go(func() { instances[n%2].sendToken(k, token) })
			together.Go(func() {
				k := instances[n%2].registerWith(token)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, k)
			})
		}
		together.Wait()
		all = append(all, old...)
		require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM profile.users WHERE push_token = $1`, token))
		require.Equal(t, 1, count(t, s.open(t), `
			SELECT count(*) FROM push.recipients r JOIN profile.users u ON u.id = r.user_id AND u.push_token = r.push_token WHERE r.push_token = $1`, token))
		moved := func() (n int) {
			for _, k := range all {
				for _, told := range listening.tokenEvents(k) {
					if told["reason"] == "moved" {
						n++
					}
				}
			}
			return n
		}
		servertest.Eventually(t, func() bool { return moved() == 2*each-1 }, "one event of each but the last, round %d", round)
		owners := 0
		for _, k := range all {
			if shown := instances[0].deviceToken(k); shown != nil {
				require.Equal(t, token, shown)
				owners++
			}
		}
		require.Equal(t, 1, owners, "what the profiles say")
	}
	s.requireNoDeadlock(t, instances[:]...)
}

// TestUsersWhoTakeEachOthersTokensDoNotDeadlock, while they and the staff change all else.
func TestUsersWhoTakeEachOthersTokensDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.connections = 2 * testConnections
	instances := [2]*instance{s.start(t), s.start(t)}
	admin := s.staff(instances[0])
	devices := []string{"device-0", "device-1", "device-2"}
	var users []tokens
	for _, device := range devices {
		users = append(users, instances[0].registerWith(device))
	}
	var all sync.WaitGroup
	for n, k := range users {
		for _, i := range instances {
			all.Go(func() {
				for round := range 40 {
					i.sendToken(k, devices[(n+round)%len(devices)])
				}
			})
		}
		all.Go(func() {
			for round := range 40 {
				r := instances[n%2].call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"push": round%2 == 0})
				require.Equal(t, 200, r.Status, r.Error)
				r = instances[n%2].call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": true, "is_staff": round%2 == 0})
				require.Equal(t, 200, r.Status, r.Error)
				if round%10 == 0 {
					instances[n%2].registerWith(devices[n])
				}
			}
		})
	}
	all.Wait()
	for _, device := range devices {
		require.LessOrEqual(t, count(t, s.open(t), `SELECT count(*) FROM profile.users WHERE push_token = $1`, device), 1)
	}
	require.Zero(t, count(t, s.open(t), `
		SELECT count(*) FROM profile.users u JOIN push.recipients r ON r.user_id = u.id WHERE u.push_token IS DISTINCT FROM r.push_token`))
	s.requireNoDeadlock(t, instances[:]...)
}

// TestDeviceTokenThatIsRegisteredAgainIsNoChange, and waits for nobody, as apps do it at each start.
func TestDeviceTokenThatIsRegisteredAgainIsNoChange(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	listening := s.broker(t).listen()
	token := "device-" + uuid.NewString()
	k := i.registerWith(token)
	s.exec(t, `UPDATE profile.users SET push_token_at = now() - interval '1 hour' WHERE id = $1`, k.id())
	require.NoError(t, s.open(t).InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, token)
		require.NoError(t, err)
		var user map[string]any
		i.sendToken(k, token).into(t, &user)
		require.Equal(t, k.User, user)
		return nil
	}))
	require.Equal(t, 1, count(t, s.db, `SELECT count(*) FROM profile.users WHERE id = $1 AND version = 1 AND now() - push_token_at < interval '1 minute'`, k.id()))

	s.exec(t, `UPDATE profile.users SET push_token_at = now() - interval '1 hour' WHERE id = $1`, k.id())
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/me/", k.AccessToken, map[string]any{"name": "Countess"}).Status)
	require.Equal(t, 1, count(t, s.db, `SELECT count(*) FROM profile.users WHERE id = $1 AND now() - push_token_at > interval '1 minute'`, k.id()), "a name is no registration")
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.profile_updated")) == 1 }, "the event after it")
	require.Empty(t, listening.of(k.id(), "user.push_token_changed"))
}

// TestDeviceTokenThatIsLostWhileItIsRegisteredAgainComesBack has the token move between the look at it
// and the lock.
func TestDeviceTokenThatIsLostWhileItIsRegisteredAgainComesBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	db := s.open(t)
	token := "device-" + uuid.NewString()
	k := i.registerWith(token)
	answer := make(chan reply, 1)
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := db.Exec(ctx, `UPDATE profile.users SET push_token = NULL, version = version + 1 WHERE id = $1`, k.id())
		require.NoError(t, err)
		go func() {
			answer <- i.call("PATCH", "/api/v1/users/me/", k.AccessToken, map[string]any{"push_token": token})
		}()
		servertest.Eventually(t, func() bool {
			return count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
		}, "it waits for the row")
		return nil
	}))
	r := <-answer
	require.Equal(t, 200, r.Status, r.Error)
	require.Equal(t, token, i.deviceToken(k))
}

func TestDeadTokenIsForgottenUnlessItWasRegisteredSince(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	listening := s.broker(t).listen()
	forgets := func(userID, token string, before *time.Time) (none bool) {
		t.Helper()
		require.NoError(t, i.app.db.InTx(t.Context(), func(ctx context.Context) (err error) {
			none, err = messaging.Ask[bool](ctx, i.app.bus, commands.ForgetPushToken{UserID: userID, PushToken: token, Before: before})
			return err
		}))
		return none
	}
	now, long := time.Now(), time.Now().Add(-time.Hour)
	soon := now.Add(time.Hour)
	old, current := "device-"+uuid.NewString(), "device-"+uuid.NewString()
	k := i.registerWith(old)
	require.False(t, forgets(k.id(), old, &long), "registered since")
	age := func() {
		t.Helper()
		s.exec(t, `UPDATE profile.users SET push_token_at = $2 WHERE id = $1`, k.id(), long.Add(-time.Hour))
	}
	age()
	i.sendToken(k, current)
	require.False(t, forgets(k.id(), current, &long), "changed since")
	require.False(t, forgets(k.id(), old, nil), "there is another one")
	require.False(t, forgets(k.id(), old, &soon))
	require.Equal(t, current, i.deviceToken(k))

	age()
	i.sendToken(k, current)
	require.False(t, forgets(k.id(), current, &long), "registered again since")
	require.True(t, forgets(k.id(), current, &soon))
	require.Nil(t, i.deviceToken(k))
	require.True(t, forgets(k.id(), current, &long), "gone already, with none in its place")
	require.True(t, forgets(k.id(), current, nil))
	require.True(t, forgets(uuid.NewString(), current, nil), "nobody has no token")

	i.sendToken(k, current)
	require.True(t, forgets(k.id(), current, nil), "it is invalid now")
	i.sendToken(k, current)
	s.exec(t, `UPDATE profile.users SET push_token_at = NULL WHERE id = $1`, k.id())
	require.True(t, forgets(k.id(), current, &long), "nobody knows when it was registered: long ago")

	want := []map[string]any{tokenChanged(k, current, "user")}
	for n := range 3 {
		want = append(want, tokenChanged(k, nil, "unregistered"))
		if n < 2 {
			want = append(want, tokenChanged(k, current, "user"))
		}
	}
	servertest.Eventually(t, func() bool { return len(listening.tokenEvents(k)) >= len(want) }, "the events")
	require.Equal(t, want, listening.tokenEvents(k))
}

// TestMessageForADeadTokenGoesToTheNewerOne has a user register it while the provider still works on
// the message for the old one.
func TestMessageForADeadTokenGoesToTheNewerOne(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	taken, release := make(chan struct{}), make(chan struct{})
	s.provider.answers(func(n map[string]any) (int, string) {
		if n["token"] != "device-old" {
			return http.StatusOK, "{}"
		}
		taken <- struct{}{}
		<-release
		return http.StatusGone, ""
	})
	k := i.registerWith("device-old")
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	<-taken
	i.sendToken(k, "device-new")
	close(release)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "push.sent")
	got := s.provider.received(id)
	require.Len(t, got, 2)
	require.Equal(t, "device-new", got[1]["token"])
	require.Equal(t, []map[string]any{tokenChanged(k, "device-new", "user")}, listening.tokenEvents(k))
	require.Zero(t, b.length("failed.queue"))
}
