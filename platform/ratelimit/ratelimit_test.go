package ratelimit_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"user-service/platform/cache"
	"user-service/platform/ratelimit"
	"user-service/platform/servertest"
)

var slow = ratelimit.Limit{Name: "slow", Rate: 1, Per: time.Hour, Burst: 5}

var secret = []byte("a secret key of the tests, long enough")

func dial(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := cache.Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newLimiter(t *testing.T, url, namespace string) *ratelimit.Limiter {
	t.Helper()
	return ratelimit.New(dial(t, url), secret, namespace, slog.New(slog.DiscardHandler))
}

// allowed takes until it is refused.
func allowed(ctx context.Context, l *ratelimit.Limiter, key string) (n int) {
	for l.Take(ctx, slow, key).Err() == nil {
		n++
	}
	return n
}

// A machine so busy that Redis takes longer than the limiter waits lets each instance count for
// itself: these tests look again then.
func eventually(t *testing.T, condition func(key string) bool, what string) {
	t.Helper()
	servertest.Eventually(t, func() bool { return condition(uuid.NewString()) }, "%s", what)
}

func TestInstancesShareALimit(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	a, b := newLimiter(t, url, namespace), newLimiter(t, url, namespace)
	eventually(t, func(key string) bool {
		var all sync.WaitGroup
		var n atomic.Int64
		for range 10 {
			for _, l := range []*ratelimit.Limiter{a, b} {
				all.Go(func() {
					if l.Take(t.Context(), slow, key).Err() == nil {
						n.Add(1)
					}
				})
			}
		}
		all.Wait()
		return n.Load() == int64(slow.Burst)
	}, "as many as the burst, of many at once on two instances")
}

func TestResultTellsWhatIsLeftAndHowLongToWait(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, servertest.Env(t, "REDIS_URL"), uuid.NewString())
	first := l.Take(t.Context(), slow, "a")
	require.NoError(t, first.Err())
	require.Equal(t, 4, first.Remaining)
	require.InDelta(t, time.Hour, first.Reset, float64(time.Minute))
	allowed(t.Context(), l, "a")
	refused := l.Take(t.Context(), slow, "a")
	require.ErrorContains(t, refused.Err(), "rate_limited")
	require.Zero(t, refused.Remaining)
	require.InDelta(t, time.Hour, refused.RetryAfter, float64(time.Minute))
	require.InDelta(t, 5*time.Hour, refused.Reset, float64(time.Minute))
}

func TestWhatIsGivenBackOrLiftedMayBeTakenAgainOnEveryInstance(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	a, b := newLimiter(t, url, namespace), newLimiter(t, url, namespace)
	eventually(t, func(key string) bool {
		for range 20 {
			if a.Take(t.Context(), slow, key).Err() != nil {
				return false
			}
			a.GiveBack(t.Context(), slow, key)
		}
		if left := allowed(t.Context(), b, key); left < slow.Burst-1 || left > slow.Burst {
			return false
		}
		a.GiveBack(t.Context(), slow, key)
		if allowed(t.Context(), b, key) != 1 {
			return false
		}
		a.Lift(t.Context(), slow, key)
		return allowed(t.Context(), b, key) == slow.Burst
	}, "given back, lifted")
}

func TestMarkIsKnownToEveryInstance(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	a, b := newLimiter(t, url, namespace), newLimiter(t, url, namespace)
	eventually(t, func(key string) bool {
		require.False(t, b.Remembers(t.Context(), "known", key))
		a.Remember(t.Context(), "known", key, time.Hour)
		return b.Remembers(t.Context(), "known", key)
	}, "remembered")
	require.False(t, b.Remembers(t.Context(), "known", "another"))
}

func TestMarksAndCountsAreForgottenInTime(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	a, b := newLimiter(t, url, namespace), newLimiter(t, url, namespace)
	quick := ratelimit.Limit{Name: "quick", Rate: 10, Per: time.Second, Burst: 1}
	a.Remember(t.Context(), "known", "key", 50*time.Millisecond)
	require.NoError(t, a.Take(t.Context(), quick, "key").Err())
	servertest.Eventually(t, func() bool {
		return !a.Remembers(t.Context(), "known", "key") && !b.Remembers(t.Context(), "known", "key")
	}, "the mark is gone")
	servertest.Eventually(t, func() bool { return b.Take(t.Context(), quick, "key").Err() == nil }, "the next is allowed")
}

func TestDeploymentsAndLimitsDoNotMix(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	l := newLimiter(t, url, namespace)
	require.GreaterOrEqual(t, allowed(t.Context(), l, "key"), slow.Burst)
	other := ratelimit.New(dial(t, url), []byte("another secret, as long as the first"), namespace, slog.New(slog.DiscardHandler))
	require.NoError(t, other.Take(t.Context(), slow, "key").Err(), "another secret")
	require.NoError(t, newLimiter(t, url, uuid.NewString()).Take(t.Context(), slow, "key").Err(), "another database")
	renamed := slow
	renamed.Name = "other"
	require.NoError(t, l.Take(t.Context(), renamed, "key").Err())
}

func TestRedisIsToldNoKeyInClear(t *testing.T) {
	t.Parallel()
	client := dial(t, servertest.Env(t, "REDIS_URL"))
	heard := &ear{}
	client.AddHook(heard)
	l := ratelimit.New(client, secret, uuid.NewString(), slog.New(slog.DiscardHandler))
	const key = "ada@example.com"
	l.Take(t.Context(), slow, key)
	l.GiveBack(t.Context(), slow, key)
	l.Lift(t.Context(), slow, key)
	l.Remember(t.Context(), "known", key, time.Minute)
	require.True(t, l.Remembers(t.Context(), "known", key))
	all := heard.String()
	require.Contains(t, all, "rate:us:")
	require.Contains(t, all, "rate:mark:us:")
	for _, part := range []string{"ada@", "example"} {
		require.NotContains(t, all, part, "no hash has such a part")
	}
}

// ear hears every command to Redis.
type ear struct {
	mu  sync.Mutex
	all strings.Builder
}

func (e *ear) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all.String()
}

func (*ear) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*ear) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (e *ear) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		e.mu.Lock()
		e.all.WriteString(cmd.String())
		e.mu.Unlock()
		return next(ctx, cmd)
	}
}

func TestWithoutRedisEachInstanceCountsAndWithItTheyCountTogetherAgain(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	proxy, through := servertest.NewProxy(t, url)
	a, b := newLimiter(t, through, namespace), newLimiter(t, url, namespace)
	proxy.Cut()
	require.Equal(t, slow.Burst, allowed(t.Context(), a, "key"))
	a.Lift(t.Context(), slow, "key")
	require.Equal(t, slow.Burst, allowed(t.Context(), a, "key"), "lifted here")
	a.Remember(t.Context(), "known", "key", time.Hour)
	require.True(t, a.Remembers(t.Context(), "known", "key"))

	proxy.Restore()
	eventually(t, func(key string) bool {
		return allowed(t.Context(), a, key)+allowed(t.Context(), b, key) == slow.Burst
	}, "together again")
}

// TestSilentRedisCostsOneRequestASecondItsTimeout takes Redis away without a word.
func TestSilentRedisCostsOneRequestASecondItsTimeout(t *testing.T) {
	t.Parallel()
	proxy, through := servertest.NewProxy(t, servertest.Env(t, "REDIS_URL"))
	l := newLimiter(t, through, uuid.NewString())
	l.Take(t.Context(), slow, "before")
	proxy.Disturb(`{"name": "silent", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
	l.Take(t.Context(), slow, "first")
	began := time.Now()
	var slowest time.Duration
	const many = 5000
	for range many {
		asked := time.Now()
		l.Take(t.Context(), slow, "key")
		slowest = max(slowest, time.Since(asked))
	}
	require.Less(t, time.Since(began), 5*time.Second)
	require.Less(t, slowest, time.Second)
	require.Error(t, l.Take(t.Context(), slow, "key").Err())
}

func TestClientThatLeftIsCountedAndIsNoOutage(t *testing.T) {
	t.Parallel()
	url, namespace := servertest.Env(t, "REDIS_URL"), uuid.NewString()
	a, b := newLimiter(t, url, namespace), newLimiter(t, url, namespace)
	left, leave := context.WithCancel(t.Context())
	leave()
	eventually(t, func(key string) bool {
		return allowed(left, a, key) == slow.Burst && b.Take(t.Context(), slow, key).Err() != nil
	}, "counted")
}

func TestNoLimiterAndNoLimitAllowEverything(t *testing.T) {
	t.Parallel()
	var none *ratelimit.Limiter
	for range 100 {
		require.NoError(t, none.Take(t.Context(), slow, "key").Err())
	}
	none.GiveBack(t.Context(), slow, "key")
	none.Lift(t.Context(), slow, "key")
	none.Remember(t.Context(), "known", "key", time.Hour)
	require.False(t, none.Remembers(t.Context(), "known", "key"))
	l := ratelimit.New(nil, secret, "", slog.New(slog.DiscardHandler))
	require.NoError(t, l.Take(t.Context(), ratelimit.Limit{}, "key").Err())
}

func TestTallyKeepsTheLimitThatIsClosestToBeUsedUp(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(nil, secret, "", slog.New(slog.DiscardHandler))
	local := func(name string, burst int) ratelimit.Limit {
		return ratelimit.Limit{Name: name, Rate: 1, Per: time.Hour, Burst: burst, Local: true}
	}
	tally := ratelimit.Watch(t.Context())
	ctx, cancel := context.WithTimeout(tally, time.Minute)
	defer cancel()
	closest := func() string {
		r, ok := tally.Closest()
		require.True(t, ok)
		return r.Limit.Name
	}
	_, ok := tally.Closest()
	require.False(t, ok)
	l.Take(ctx, local("wide", 100), "key")
	require.Equal(t, "wide", closest())
	l.Take(ctx, local("narrow", 1), "key")
	l.Take(ctx, local("wide", 100), "key")
	require.Equal(t, "narrow", closest())
	used := local("used up", 1)
	require.NoError(t, l.Take(t.Context(), used, "key").Err())
	require.Error(t, l.Take(ctx, used, "key").Err())
	l.Take(ctx, local("third", 1), "key")
	require.Equal(t, "used up", closest())
}
