package ratelimit

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var pace = Limit{Name: "test", Rate: 2, Per: time.Minute, Burst: 3}

func TestBurstIsAllowedAtOnceAndThenThePace(t *testing.T) {
	t.Parallel()
	d := newDeadlines()
	for left := 2; left >= 0; left-- {
		r := d.count(pace, "a", 1, time.Hour)
		require.NoError(t, r.Err())
		require.Equal(t, left, r.Remaining)
	}
	refused := d.count(pace, "a", 1, time.Hour)
	require.ErrorContains(t, refused.Err(), "rate_limited")
	require.Equal(t, Result{pace, 0, 90 * time.Second, 30 * time.Second}, refused)
	require.NoError(t, d.count(pace, "b", 1, time.Hour).Err(), "another key")
	require.NoError(t, d.count(pace, "a", 1, time.Hour+30*time.Second).Err(), "refusals cost nothing")
	require.Error(t, d.count(pace, "a", 1, time.Hour+59*time.Second).Err())
	require.Equal(t, 2, d.count(pace, "a", 1, 2*time.Hour).Remaining, "the bucket fills up to the burst")
}

func TestWhatIsGivenBackMayBeTakenAgain(t *testing.T) {
	t.Parallel()
	d := newDeadlines()
	for range 10 {
		require.NoError(t, d.count(pace, "a", 1, time.Hour).Err())
		d.count(pace, "a", -1, time.Hour)
	}
	require.Equal(t, 2, d.count(pace, "a", 1, time.Hour).Remaining, "never more than the burst")
}

// However events come, no span of time has more of them than the burst and what the pace adds to it.
func TestNoSpanHasMoreThanTheBurstAndThePace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{Name: "any", Rate: rapid.IntRange(1, 100).Draw(t, "rate"), Per: time.Minute, Burst: rapid.IntRange(1, 20).Draw(t, "burst")}
		d, now := newDeadlines(), time.Hour
		var allowed []time.Duration
		for range 200 {
			now += time.Duration(rapid.IntRange(0, int(3*limit.step())).Draw(t, "pause"))
			r := d.count(limit, "a", 1, now)
			if r.Err() == nil {
				allowed = append(allowed, now)
				continue
			}
			require.NoError(t, d.count(limit, "a", 1, now+r.RetryAfter).Err(), "who waits as told is allowed")
			now += r.RetryAfter
			allowed = append(allowed, now)
		}
		for from := range allowed {
			for to := from; to < len(allowed); to++ {
				require.LessOrEqual(t, to-from+1, limit.Burst+int((allowed[to]-allowed[from])/limit.step()))
			}
		}
	})
}

func TestFloodOfKeysTakesBoundedMemoryAndFreesNobody(t *testing.T) {
	t.Parallel()
	d := newDeadlines()
	const emptied = 50
	for n := range emptied {
		for range pace.Burst {
			require.NoError(t, d.count(pace, "victim "+strconv.Itoa(n), 1, time.Hour).Err())
		}
	}
	for n := range 4 * shards * shardKeys {
		d.count(pace, strconv.Itoa(n), 1, time.Hour)
	}
	keys := 0
	for i := range d.shards {
		keys += len(d.shards[i].at)
	}
	require.Equal(t, shards*shardKeys, keys)
	for n := range emptied {
		require.Error(t, d.count(pace, "victim "+strconv.Itoa(n), 1, time.Hour).Err())
	}
}

func BenchmarkLocalTake(b *testing.B) {
	l := New(nil, make([]byte, 32), "", slog.New(slog.DiscardHandler))
	limit := Limit{Name: "user", Rate: 1_000_000, Per: time.Second, Burst: 1 << 40, Local: true}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Take(b.Context(), limit, "0192d3a4-0000-7000-8000-000000000000")
		}
	})
}
