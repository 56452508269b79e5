package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func (i *instance) health() (status string, checks map[string]string) {
	i.t.Helper()
	r := i.call("GET", "/health/", "", nil)
	var report struct {
		Status string
		Checks map[string]string
	}
	r.into(i.t, &report)
	return report.Status, report.Checks
}

func TestWithoutTheBrokerRESTGoesOnAndEveryEventArrivesAfterwards(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.RabbitMQURL)
	i := s.start(t, func(c *config) { c.RabbitMQURL = through })
	listening := s.broker(t).listen()
	k := i.register()
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.registered")) == 1 }, "the relay is at work")

	proxy.Cut()
	servertest.Eventually(t, func() bool { status, _ := i.health(); return status == "degraded" }, "health says degraded")
	_, checks := i.health()
	require.Equal(t, map[string]string{"database": "up", "cache": "up", "broker": "down"}, checks)
	users := []tokens{k}
	for range 5 {
		users = append(users, i.register())
	}
	const changes = 20
	for n := range changes {
		for _, k := range users {
			require.Equal(t, 200, i.call("PATCH", "/api/v1/users/profile/", k.AccessToken, map[string]any{"name": fmt.Sprintf("Name %d", n)}).Status)
		}
	}
	require.Empty(t, listening.of(users[1].id(), "user.registered"))

	proxy.Restore()
	for _, k := range users {
		servertest.Eventually(t, func() bool { return len(distinct(listening.of(k.id(), "user.profile_updated"))) >= changes }, "the events of the outage")
		told := distinct(listening.of(k.id(), "user.profile_updated"))
		require.Len(t, told, changes)
		for n, e := range told {
			require.Equal(t, fmt.Sprintf("Name %d", n), e.Data["name"], "in order")
			require.Equal(t, fmt.Sprintf("%010d", n+1), e.Sequence, "without a gap")
		}
		require.Len(t, distinct(listening.of(k.id(), "user.registered")), 1)
	}
	servertest.Eventually(t, func() bool { status, _ := i.health(); return status == "healthy" }, "health says healthy")
}

func TestStartsWithoutBrokerAndCache(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	nowhere := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}
	i := s.start(t, func(c *config) {
		c.RabbitMQURL, c.RedisURL = "amqp://"+nowhere(t)+"/", "redis://"+nowhere(t)+"/0"
	})
	k := i.register()
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": false}).Status)
	var user map[string]any
	i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).into(t, &user)
	require.Equal(t, map[string]any{"email": false, "push": true}, user["preferences"])
	status, checks := i.health()
	require.Equal(t, "degraded", status)
	require.Equal(t, map[string]string{"database": "up", "cache": "down", "broker": "down"}, checks)
}

// TestWithoutTheCacheEveryInstanceStillReadsOwnWrites takes Redis from one instance of two.
func TestWithoutTheCacheEveryInstanceStillReadsOwnWrites(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.RedisURL)
	a := s.start(t, func(c *config) { c.RedisURL = through })
	b := s.start(t)
	k := a.register()
	name := func(i *instance) any {
		t.Helper()
		var user map[string]any
		i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).into(t, &user)
		return user["name"]
	}
	change := func(i *instance, to string) {
		t.Helper()
		require.Equal(t, 200, i.call("PATCH", "/api/v1/users/profile/", k.AccessToken, map[string]any{"name": to}).Status)
	}
	// Until the cache is in use by both: a value that b keeps is what a stale read would show.
	servertest.Eventually(t, func() bool { return name(a) == "Grace Hopper" && name(b) == "Grace Hopper" }, "both read")
	for round := range 3 {
		proxy.Cut()
		written := fmt.Sprintf("Round %d", round)
		change(a, written)
		require.Equal(t, written, name(a), "the writer, at once")
		deadline := time.Now().Add(time.Second)
		for name(b) != written {
			require.True(t, time.Now().Before(deadline), "the other instance, within a second")
		}
		proxy.Restore()
		after := written + ", back"
		change(b, after)
		require.Equal(t, after, name(b))
		require.Equal(t, after, name(a))
	}
}

func TestWithoutTheDatabaseTheAnswerIs503AndNothingIsLost(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.DatabaseURL)
	i := s.start(t, func(c *config) { c.DatabaseURL = through })
	b := s.broker(t)
	listening := b.listen()
	k := i.register()

	proxy.Cut()
	for _, request := range []struct {
		method, path, token string
		body                any
	}{
		{"POST", "/api/v1/users/", "", map[string]any{"name": "A", "email": "a@example.com", "password": goodPassword}},
		{"POST", "/api/v1/auth/login/", "", map[string]any{"email": "a@example.com", "password": goodPassword}},
		{"PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": false}},
		{"GET", "/health/ready/", "", nil},
	} {
		servertest.Eventually(t, func() bool {
			r := i.call(request.method, request.path, request.token, request.body)
			if r.Status != 503 {
				return false // a health report may be a second old
			}
			require.Equal(t, "unavailable", r.Error)
			require.NotEmpty(t, r.Header.Get("Retry-After"))
			require.NotContains(t, string(r.Data), "refused")
			return true
		}, "%s %s answers 503", request.method, request.path)
	}
	require.Equal(t, 200, i.call("GET", "/health/live/", "", nil).Status)
	var ids []string
	for range 30 {
		ids = append(ids, uuid.NewString())
		b.push(pushBody(k.id(), ids[len(ids)-1]))
	}
	// More rounds of waiting than a message has attempts: an outage of ours uses none of them up.
	started := time.Now()
	servertest.Eventually(t, func() bool { return time.Since(started) > 2*time.Second }, "some rounds")
	require.Zero(t, b.length("failed.queue"))

	proxy.Restore()
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == len(ids) }, "every message after the outage")
	for _, id := range ids {
		require.Len(t, s.provider.received(id), 1)
	}
	require.Zero(t, b.length("failed.queue"))
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": false}).Status)
}

func TestQueueThatIsThereWithOtherArgumentsIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	vhost, err := url.Parse(s.config.RabbitMQURL)
	require.NoError(t, err)
	servertest.Manage(t, http.MethodPut, "/api/queues"+vhost.Path+"/push.queue", `{"durable":true,"arguments":{"x-max-length":1000}}`)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	b.push(pushBody(k.id(), uuid.NewString()))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "delivered")
	_, err = b.ch.QueueDelete("push.queue", false, false, false)
	require.NoError(t, err)
	b = s.broker(t) // waits for the consumer of the queue that is made anew
	b.push(pushBody(k.id(), uuid.NewString()))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 2 }, "delivered through the new queue")
	require.Zero(t, b.length("failed.queue"))
}

// TestSilentDatabaseIsAnOutageToo takes the database away without a word: connections stay open and
// nothing answers.
func TestSilentDatabaseIsAnOutageToo(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.DatabaseURL)
	i := s.start(t, func(c *config) { c.DatabaseURL = through })
	k := i.register()
	proxy.Disturb(`{"name": "silent_down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
	proxy.Disturb(`{"name": "silent_up", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`)
	started := time.Now()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r := i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil)
			require.Contains(t, []int{200, 503}, r.Status) // before the last look is a second old, the cache may answer
			r = i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": false})
			require.Equal(t, 503, r.Status)
			require.NotEmpty(t, r.Header.Get("Retry-After"))
		})
	}
	all.Wait()
	require.Less(t, time.Since(started), 40*time.Second, "answers do not wait for one another")
	proxy.Calm()
	servertest.Eventually(t, func() bool {
		return i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": false}).Status == 200
	}, "it goes on when the database is back")
}

// TestReadsGoOnWhileAllConnectionsWait has a lock hold whoever signs in, until the pool is empty.
func TestReadsGoOnWhileAllConnectionsWait(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, db := s.start(t), s.open(t)
	k := i.register()
	key, err := i.app.auth.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	read := func() {
		require.Equal(t, 200, i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).Status)
		require.Equal(t, 200, i.withKey("GET", "/api/v1/users/"+k.id()+"/preferences/", key).Status)
	}
	servertest.Eventually(t, func() bool {
		read()
		hits, _ := i.scrape().sum("cache_reads_total", `result="hit"`)
		return hits >= 2
	}, "the cache is in use")
	var all sync.WaitGroup
	defer all.Wait()
	var gaveUp atomic.Int32
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := db.Exec(ctx, `LOCK TABLE auth.sessions IN EXCLUSIVE MODE`)
		require.NoError(t, err)
		for range 2 * testConnections {
			all.Go(func() {
				i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": goodPassword})
				gaveUp.Add(1)
			})
		}
		servertest.Eventually(t, func() bool { return i.app.db.Pool().Stats().InUse == testConnections }, "who signs in has all connections")
		since := time.Now()
		servertest.Eventually(t, func() bool {
			read()
			for _, path := range []string{"/health/", "/health/ready/"} {
				require.Equal(t, 200, i.call("GET", path, "", nil).Status)
			}
			return time.Since(since) > 4*time.Second // longer than what is known of revocations, and of the cache, is believed
		}, "reads go on")
		require.Zero(t, gaveUp.Load(), "no read has waited for those who sign in")
		return nil
	}))
}
