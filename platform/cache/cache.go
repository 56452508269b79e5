// Package cache keeps copies of rows in Redis that never lie: a copy never outlives a committed
// change of its row, on any instance, whatever crashes in between.
//
// Every value carries the version of its row, and a newer version always wins. A transaction that
// changes a row announces the new version just before it commits: from then on readers find no value
// and ask PostgreSQL, and an older value cannot be put back. After the commit the new value is
// written forward. A crash in between leaves the announcement, so a miss, never a stale value.
//
// What cannot be announced because Redis is out of reach is said in PostgreSQL instead: the same
// transaction raises the epoch, which is part of every key. Each instance reads the epoch, and the
// replication id of the Redis server (one that restarted or took over may hold old contents), every
// refreshEvery. It neither reads nor writes the cache with a knowledge older than trustFor: so much
// later, at the most, everybody has noticed. It leaves a namespace unread for its first settleFor,
// until what others announced in the one before has been committed, and announces in both.
//
// A transaction reads its rows from PostgreSQL: the cache does not know its changes yet, and nobody
// else may.
package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"user-service/platform/batch"
	"user-service/platform/postgres"
)

const (
	refreshEvery = 300 * time.Millisecond
	trustFor     = 750 * time.Millisecond
	commitFor    = 1250 * time.Millisecond // from an announcement to the end of its commit; see forward
	believeFor   = trustFor + readTimeout  // what was read later than so after it was learned is not believed
	settleFor    = trustFor + commitFor
	loadFor      = time.Second // a load that took longer is not kept
	announceFor  = time.Minute // longer than a transaction can take to commit
)

// Cache is safe for concurrent use. Run must be running, otherwise every read is a miss.
type Cache struct {
	redis redis.UniversalClient
	db    *postgres.DB
	ttl   time.Duration
	log   *slog.Logger
	known atomic.Pointer[namespace] // never nil
	reads *prometheus.CounterVec
	gets  *batch.Group[*get]
	puts  *batch.Group[[]put]

	mu   sync.Mutex
	last namespace // the latest that was seen in use
}

// namespace is what an instance knows of the keys in use.
type namespace struct {
	prefix   string
	old      string    // what others may go on reading until this one is readable
	learned  time.Time // when it was last seen to be in use
	readable time.Time // from when on nobody commits what was only announced elsewhere
	left     bool      // Redis failed a read
}

// New makes a cache whose values live for ttl. reads counts hits and misses.
func New(client redis.UniversalClient, db *postgres.DB, ttl time.Duration, log *slog.Logger) *Cache {
	c := &Cache{
		redis: client, db: db, ttl: ttl, log: log.With("logger", "cache"),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cache_reads_total", Help: "Reads of the cache by result (hit, miss, bypass).",
		}, []string{"result"}),
	}
	c.gets, c.puts = batch.New(batch.Manner{}, c.getAll), batch.New(batch.Manner{}, c.putAll)
	c.known.Store(new(namespace))
	return c
}

// Collector gives the metrics.
func (c *Cache) Collector() prometheus.Collector { return c.reads }

// Ping asks Redis for a sign of life.
func (c *Cache) Ping(ctx context.Context) error { return c.redis.Ping(ctx).Err() }

// Read gives the cached value of key or loads it, with the version of its row, and keeps it.
func Read[T any](ctx context.Context, c *Cache, key string, load func(context.Context) (T, int64, error)) (T, error) {
	ns := c.readable(ctx)
	if held, found := c.held(ns, key, reflect.TypeFor[T]()); found {
		var value T
		if json.Unmarshal(held, &value) == nil {
			return value, nil
		}
	}
	return loaded(ctx, c, ns, key, load)
}

// ReadJSON is Read for who passes the value on: what is cached is not decoded.
func ReadJSON[T any](ctx context.Context, c *Cache, key string, load func(context.Context) (T, int64, error)) ([]byte, error) {
	ns := c.readable(ctx)
	if held, found := c.held(ns, key, reflect.TypeFor[T]()); found && json.Valid(held) {
		return held, nil
	}
	value, err := loaded(ctx, c, ns, key, load)
	if err != nil {
		return nil, err
	}
	return encodeJSON(value)
}

// loaded keeps what it loads. ns was taken before: what is read must not get into a namespace that
// began after it.
func loaded[T any](ctx context.Context, c *Cache, ns *namespace, key string, load func(context.Context) (T, int64, error)) (T, error) {
	asked := time.Now()
	value, version, err := load(ctx)
	if err != nil || ns == nil || c.trusted() == nil || time.Since(asked) > loadFor {
		return value, err
	}
	c.leave(ctx, ns, c.put(ctx, []entry{{ns.prefix + key, version, value}}, c.ttl, readTimeout))
	return value, nil
}

// A flight shared by concurrent readers (singleflight) is left out on purpose: who joins a load that
// began before its own write committed would read the value from before that write.

// held gives the JSON of a value of this type.
func (c *Cache) held(ns *namespace, key string, of reflect.Type) (value []byte, found bool) {
	if ns == nil {
		return nil, false
	}
	asked := &get{key: ns.prefix + key}
	ctx := context.Background() // the exchange has an end of its own, and is not this caller's alone
	err := cmp.Or(c.gets.Do(ctx, asked), asked.err)
	value, found = asked.of(of)
	c.leave(ctx, ns, err)
	if !found || time.Since(ns.learned) > believeFor {
		c.reads.WithLabelValues("miss").Inc()
		return nil, false
	}
	c.reads.WithLabelValues("hit").Inc()
	return value, true
}

// readable is the namespace to read and fill, nil when the cache must be left alone.
func (c *Cache) readable(ctx context.Context) *namespace {
	if postgres.InTransaction(ctx) {
		return nil
	}
	ns := c.trusted()
	if ns == nil || ns.left || time.Now().Before(ns.readable) {
		c.reads.WithLabelValues("bypass").Inc()
		return nil
	}
	return ns
}

// trusted is the namespace to write to, nil when what is known of it is too old.
func (c *Cache) trusted() *namespace {
	ns := c.known.Load()
	if time.Since(ns.learned) > trustFor {
		return nil
	}
	return ns
}

// leave has this instance read from the database until the next refresh, because Redis failed a read
// or is slow, unless it was the caller who gave up. Writes go on announcing: that is what others rely on.
func (c *Cache) leave(ctx context.Context, ns *namespace, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	unread := *ns
	unread.left = true
	if c.known.CompareAndSwap(ns, &unread) && !ns.left {
		c.log.Warn("cache out of reach, reading from the database", "error", err)
	}
}

// lost has this instance leave the cache alone altogether until the next refresh finds it back.
func (c *Cache) lost(ctx context.Context, err error) {
	if ctx.Err() == nil && c.distrust().prefix != "" {
		c.log.Warn("cache out of reach, telling changes by the epoch", "error", err)
	}
}

// distrust forgets the namespace, also for a refresh that is under way, and gives what was known.
func (c *Cache) distrust() *namespace { return c.known.Swap(new(namespace)) }
