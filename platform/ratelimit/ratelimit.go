// Package ratelimit slows down who asks too often, by GCRA: a bucket that fills evenly, shared by all
// instances through Redis.
//
// It promises that Redis being away is never a client's trouble: within callTimeout each instance
// counts for itself, in bounded memory, and asks Redis again every leaveFor. A refused event costs
// nothing: who keeps asking is slowed to the pace of the limit and not locked out. Redis is told no
// key in clear.
package ratelimit

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"user-service/platform/fault"
)

const (
	callTimeout = 250 * time.Millisecond
	leaveFor    = time.Second // so that an outage does not cost each request callTimeout
)

// Limit is a pace: Rate events in each Per for as long as one likes, and Burst of them at once. The
// zero Limit limits nothing.
type Limit struct {
	Name  string // tells its keys from those of other limits
	Rate  int
	Per   time.Duration
	Burst int
	Local bool // each instance counts for itself: no round trip, for what is asked all the time
}

// step is the time in which a bucket regains one event.
func (l Limit) step() time.Duration { return l.Per / time.Duration(l.Rate) }

// Result is what a limit says of one event.
type Result struct {
	Limit      Limit
	Remaining  int           // events that would be allowed right now
	Reset      time.Duration // until the whole burst is there again
	RetryAfter time.Duration // until the next event will be allowed; zero: this one is
}

// Err is nil when the event is allowed, else the fault `rate_limited`.
func (r Result) Err() error {
	if r.RetryAfter <= 0 {
		return nil
	}
	return fault.TooMany(r.RetryAfter)
}

// Limiter is safe for concurrent use. A nil Limiter limits nothing.
type Limiter struct {
	redis  redis.UniversalClient
	shared *redis_rate.Limiter
	local  *deadlines // when a bucket is full again
	marks  *deadlines // when a mark is forgotten
	secret []byte     // of the names in Redis
	start  time.Time
	away   atomic.Int64 // until when Redis is left alone; zero: it answers
	log    *slog.Logger
}

// New makes a limiter. Instances share their counts when secret and namespace are the same.
func New(client redis.UniversalClient, secret []byte, namespace string, log *slog.Logger) *Limiter {
	key, _ := hkdf.Key(sha256.New, secret, nil, "user-service rate limits "+namespace, sha256.Size) // fails for far longer ones only
	return &Limiter{
		redis: client, shared: redis_rate.NewLimiter(client), local: newDeadlines(), marks: newDeadlines(),
		secret: key, start: time.Now(), log: log.With("logger", "ratelimit"),
	}
}

// Take counts an event of key, unless it comes too early.
func (l *Limiter) Take(ctx context.Context, limit Limit, key string) Result {
	if l == nil || limit.Rate == 0 {
		return Result{}
	}
	result := l.count(ctx, limit, key, 1)
	note(ctx, result)
	return result
}

// GiveBack undoes one Take that was allowed.
func (l *Limiter) GiveBack(ctx context.Context, limit Limit, key string) {
	if l != nil {
		l.count(ctx, limit, key, -1)
	}
}

func (l *Limiter) count(ctx context.Context, limit Limit, key string, n int) (result Result) {
	if !limit.Local && l.ask(ctx, func(ctx context.Context) error {
		pace := redis_rate.Limit{Rate: limit.Rate, Period: limit.Per, Burst: limit.Burst}
		counted, err := l.shared.AllowN(ctx, l.name(limit.Name, key), pace, n)
		if err == nil {
			result = Result{limit, counted.Remaining, counted.ResetAfter, max(counted.RetryAfter, 0)}
		}
		return err
	}) {
		return result
	}
	return l.local.count(limit, key, n, l.now())
}

// Lift forgets what was counted of key, on this instance and in Redis.
func (l *Limiter) Lift(ctx context.Context, limit Limit, key string) {
	if l == nil {
		return
	}
	l.local.forget(limit.Name, key)
	l.ask(ctx, func(ctx context.Context) error { return l.shared.Reset(ctx, l.name(limit.Name, key)) })
}

// Remember marks key for a time. This instance knows it without Redis too.
func (l *Limiter) Remember(ctx context.Context, mark, key string, lasts time.Duration) {
	if l == nil {
		return
	}
	l.marks.set(mark, key, l.now()+lasts)
	l.ask(ctx, func(ctx context.Context) error {
		return l.redis.Set(ctx, markPrefix+l.name(mark, key), "", lasts).Err()
	})
}

// Remembers reports whether key is marked.
func (l *Limiter) Remembers(ctx context.Context, mark, key string) bool {
	if l == nil {
		return false
	}
	if l.marks.get(mark, key) > l.now() {
		return true
	}
	var found int64
	l.ask(ctx, func(ctx context.Context) (err error) {
		found, err = l.redis.Exists(ctx, markPrefix+l.name(mark, key)).Result()
		return err
	})
	return found == 1
}

// ask has Redis do something and reports whether it did. After a failure it is left alone for a
// while, then one caller tries it for all. A client that leaves does not take back what it asked for.
func (l *Limiter) ask(ctx context.Context, call func(context.Context) error) bool {
	until, now := l.away.Load(), int64(l.now())
	if until != 0 && (now < until || !l.away.CompareAndSwap(until, now+int64(leaveFor))) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := call(ctx); err != nil {
		if l.away.Swap(int64(l.now()+leaveFor)) == 0 {
			l.log.WarnContext(ctx, "Redis out of reach, each instance counts for itself", "error", err)
		}
		return false
	}
	if until != 0 {
		l.away.Store(0)
		l.log.InfoContext(ctx, "Redis in reach, instances count together")
	}
	return true
}

const markPrefix = "rate:mark:" // beside redis_rate's own "rate:"

// name hides key: it may be an e-mail address, and a plain hash of one could be guessed.
func (l *Limiter) name(kind, key string) string {
	mac := hmac.New(sha256.New, l.secret)
	mac.Write([]byte(kind + "\x00" + key))
	return "us:" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// now never jumps, unlike the time of day.
func (l *Limiter) now() time.Duration { return time.Since(l.start) }
