package cache

import (
	"context"
	"flag"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

const valuesLive = time.Hour

// TestMain lets more tests run at once than there are cores: mostly they wait for time to pass.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8")
	m.Run()
}

// world is one database with a table of cached rows, and one Redis.
type world struct {
	databaseURL string
	db          *postgres.DB // of the test itself
	redis       redis.UniversalClient
}

type row struct {
	Text    string `db:"text"`
	Version int64  `db:"version"`
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{databaseURL: servertest.Database(t, migrations.Files)}
	w.db = w.open(t)
	w.redis = dial(t, servertest.Env(t, "REDIS_URL"))
	_, err := w.db.Exec(t.Context(), `CREATE TABLE rows (key text PRIMARY KEY, version bigint NOT NULL, "text" text NOT NULL)`)
	require.NoError(t, err)
	return w
}

func (w *world) open(t testing.TB) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(w.databaseURL, 5)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func dial(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// add makes a row that no cache has heard of and gives its key.
func (w *world) add(t testing.TB, text string) string {
	t.Helper()
	key := uuid.NewString()
	_, err := w.db.Exec(t.Context(), `INSERT INTO rows VALUES ($1, 1, $2)`, key, text)
	require.NoError(t, err)
	return key
}

func (w *world) epoch(t testing.TB) (epoch int64) {
	t.Helper()
	require.NoError(t, w.db.Get(t.Context(), &epoch, `SELECT epoch FROM cache.epoch`))
	return epoch
}

func (w *world) raiseEpoch(t testing.TB) {
	t.Helper()
	_, err := w.db.Exec(t.Context(), `UPDATE cache.epoch SET epoch = epoch + 1`)
	require.NoError(t, err)
}

// instance is one of several services that share a world, with its own way to Redis.
type instance struct {
	*Cache
	proxy *servertest.Proxy
	stop  func() // ends Run
	loads atomic.Int64
}

// instance starts one in a namespace that has been in use for long: it reads the cache at once.
func (w *world) instance(t testing.TB) *instance {
	t.Helper()
	i := w.newInstance(t)
	require.NoError(t, i.refresh(t.Context()))
	i.last.readable = time.Now()
	i.run(t)
	i.settle(t)
	return i
}

func (w *world) newInstance(t testing.TB) *instance {
	t.Helper()
	proxy, url := servertest.NewProxy(t, servertest.Env(t, "REDIS_URL"))
	return &instance{Cache: New(dial(t, url), w.open(t), valuesLive, slog.New(slog.DiscardHandler)), proxy: proxy}
}

func (i *instance) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		_ = i.Run(ctx)
		close(done)
	}()
	i.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(i.stop)
}

func (i *instance) settle(t testing.TB) {
	t.Helper()
	servertest.Eventually(t, func() bool { return i.readable(t.Context()) != nil }, "the instance reads the cache")
}

// moved waits until the instance uses another namespace than before.
func (i *instance) moved(t testing.TB, before string) {
	t.Helper()
	servertest.Eventually(t, func() bool {
		ns := i.trusted()
		return ns != nil && ns.prefix != before
	}, "the instance uses a new namespace")
}

func (i *instance) prefixInUse() string { return i.known.Load().prefix }

func (i *instance) load(ctx context.Context, key string) (r row, version int64, err error) {
	i.loads.Add(1)
	err = i.db.Get(ctx, &r, `SELECT text, version FROM rows WHERE key = $1`, key)
	return r, r.Version, err
}

func (i *instance) read(t testing.TB, key string) row {
	t.Helper()
	r, err := Read(t.Context(), i.Cache, key, func(ctx context.Context) (row, int64, error) { return i.load(ctx, key) })
	require.NoError(t, err)
	return r
}

// hits reads a row that must come from the cache, once the instance reads it at all: a busy machine may
// keep it from doing so for a moment, and what it loads then it does not keep.
func (i *instance) hits(t testing.TB, key string) (r row) {
	t.Helper()
	servertest.Eventually(t, func() bool {
		if i.readable(t.Context()) == nil {
			return false
		}
		before := i.loads.Load()
		r = i.read(t, key)
		if i.loads.Load() == before {
			return true
		}
		require.Nil(t, i.readable(t.Context()), "the value came from the database, not from the cache")
		return false
	}, "a read of the cache")
	return r
}

// misses reads a row that must come from the database.
func (i *instance) misses(t testing.TB, key string) row {
	t.Helper()
	before := i.loads.Load()
	r := i.read(t, key)
	require.Equal(t, before+1, i.loads.Load(), "the value came from the cache")
	return r
}

// change is the statement of a write, inside its transaction.
func (i *instance) change(ctx context.Context, key, text string) error {
	var r row
	if err := i.db.Get(ctx, &r, `UPDATE rows SET version = version + 1, text = $2 WHERE key = $1 RETURNING text, version`, key, text); err != nil {
		return err
	}
	return i.Changed(ctx, key, r.Version, r)
}

func (i *instance) write(t testing.TB, key, text string) {
	t.Helper()
	require.NoError(t, i.db.InTx(t.Context(), func(ctx context.Context) error { return i.change(ctx, key, text) }))
}

// onceAnnounced has fn run inside the transaction when what was changed so far has been announced: the cache
// waits for that in a hook that its own first hook adds.
func onceAnnounced(ctx context.Context, fn func() error) error {
	return postgres.BeforeCommit(ctx, func(ctx context.Context) error {
		return postgres.BeforeCommit(ctx, func(context.Context) error { return fn() })
	})
}

// writeAndCrash commits a write, and dies before the new value is written forward. beforeCommit runs
// once the change has been announced.
func (i *instance) writeAndCrash(t testing.TB, key, text string, beforeCommit func()) {
	t.Helper()
	require.PanicsWithValue(t, "crash", func() {
		_ = i.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := postgres.AfterCommit(ctx, func(context.Context) { panic("crash") }); err != nil {
				return err
			}
			if err := i.change(ctx, key, text); err != nil {
				return err
			}
			return onceAnnounced(ctx, func() error { beforeCommit(); return nil })
		})
	})
}

// startRead begins a read whose load has its row from the database, but has not come back with it.
func (i *instance) startRead(t testing.TB, key string) (finish func() row) {
	t.Helper()
	loaded, goOn, done := make(chan struct{}), make(chan struct{}), make(chan row, 1)
	go func() {
		r, err := Read(t.Context(), i.Cache, key, func(ctx context.Context) (row, int64, error) {
			r, version, err := i.load(ctx, key)
			close(loaded)
			<-goOn
			return r, version, err
		})
		if err != nil {
			r = row{Text: err.Error(), Version: -1}
		}
		done <- r
	}()
	select {
	case <-loaded:
	case r := <-done: // from the cache
		done <- r
	}
	return func() row {
		close(goOn)
		return <-done
	}
}
