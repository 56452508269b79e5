package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

const silence = `{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`

func TestWriteWithoutRedisIsReadByItsInstanceAtOnceAndByOthersWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", a.misses(t, key).Text)
	require.Equal(t, "old", b.hits(t, key).Text)

	a.proxy.Cut()
	a.write(t, key, "new")
	committed := time.Now()
	require.Equal(t, "new", a.read(t, key).Text)
	for asked := time.Now(); b.read(t, key).Text == "old"; asked = time.Now() {
		require.Less(t, asked.Sub(committed), time.Second, "still stale")
	}

	a.proxy.Restore()
	for a.readable(t.Context()) == nil || b.readable(t.Context()) == nil {
		require.Equal(t, "new", a.read(t, key).Text)
		require.Equal(t, "new", b.read(t, key).Text)
	}
	require.Equal(t, "new", a.read(t, key).Text)
	require.Equal(t, "new", b.hits(t, key).Text)
}

func TestInstanceWhoseRedisCameBackDuringItsCommitReadsItsOwnWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", a.misses(t, key).Text)
	a.proxy.Cut()
	require.NoError(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, key, "new"))
		return onceAnnounced(ctx, func() error {
			a.proxy.Restore()
			a.settle(t)
			return nil
		})
	}))
	require.Equal(t, "new", a.read(t, key).Text)
}

func TestEveryWriteWithoutRedisRaisesTheEpochAndEveryOtherLeavesItAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key, other := w.add(t, "one"), w.add(t, "one")
	before := w.epoch(t)
	a.write(t, key, "two")
	require.Equal(t, before, w.epoch(t))

	a.proxy.Cut()
	for _, text := range []string{"three", "four"} {
		require.NoError(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, a.change(ctx, key, text))
			return postgres.BeforeCommit(ctx, func(ctx context.Context) error { return a.change(ctx, other, text) })
		}))
	}
	require.Equal(t, before+2, w.epoch(t), "once for each transaction")
	refusal := errors.New("refused")
	require.ErrorIs(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, key, "never"))
		return onceAnnounced(ctx, func() error { return refusal })
	}), refusal)
	require.Equal(t, before+2, w.epoch(t), "rolled back with its transaction")
}

// The announcement stands, so there is no need to leave the namespace. On a busy machine a commit can
// take so long that it must be left all the same: then the next one is looked at.
func TestWriteThatCannotBeWrittenForwardIsAMissOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	servertest.Eventually(t, func() bool {
		a, b := w.instance(t), w.instance(t)
		key := w.add(t, "old")
		require.Equal(t, "old", b.misses(t, key).Text)
		before := w.epoch(t)
		require.NoError(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, a.change(ctx, key, "new"))
			return onceAnnounced(ctx, func() error { a.proxy.Cut(); return nil })
		}))
		require.Equal(t, "new", b.misses(t, key).Text)
		require.Equal(t, "new", a.read(t, key).Text)
		return w.epoch(t) == before
	}, "a write that leaves the epoch alone")
}

func TestRedisThatIsDownAtTheStartIsUsedOnceItIsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newInstance(t)
	a.proxy.Cut()
	a.run(t)
	key := w.add(t, "one")
	require.Equal(t, "one", a.read(t, key).Text)
	a.write(t, key, "two")
	require.Equal(t, "two", a.read(t, key).Text)

	a.proxy.Restore()
	a.settle(t)
	require.Equal(t, "two", a.misses(t, key).Text)
	require.Equal(t, "two", a.hits(t, key).Text)
}

func TestRedisThatHangsCostsOneShortWaitAndIsThenLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "one")
	a.misses(t, key)
	a.stop() // the refresh would find out as well
	a.proxy.Disturb(silence)

	began := time.Now()
	require.Equal(t, "one", a.read(t, key).Text)
	require.GreaterOrEqual(t, time.Since(began), readTimeout)
	require.Nil(t, a.readable(t.Context()), "would ask Redis again")
	a.write(t, key, "two")
	began = time.Now()
	a.write(t, key, "three")
	require.Less(t, time.Since(began), callTimeout, "asked Redis again")
}

// Readers are impatient. A writer who believed them would tell the others by the epoch, so later.
func TestReadThatFailsDoesNotKeepAWriteFromBeingReadByOthersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", b.misses(t, key).Text)
	a.stop()
	a.proxy.Disturb(silence)
	require.Equal(t, "old", a.misses(t, key).Text)
	require.Nil(t, a.readable(t.Context()))
	a.proxy.Calm()
	a.write(t, key, "new")
	require.Equal(t, "new", b.read(t, key).Text)
	require.Equal(t, "new", a.read(t, key).Text)
}

func TestWriteWaitsForARedisThatHangsNoLongerThanOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	a.stop()
	a.proxy.Disturb(silence)
	before := w.epoch(t)
	began := time.Now()
	a.write(t, key, "new")
	require.Less(t, time.Since(began), 2*callTimeout)
	require.Equal(t, before+1, w.epoch(t))
	require.Equal(t, "new", a.read(t, key).Text)
}

func TestKnowledgeThatIsNotRenewedIsNotTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	a.misses(t, key)
	a.stop()
	stopped := time.Now()
	_, err := w.db.Exec(t.Context(), `UPDATE rows SET version = 2, text = 'new' WHERE key = $1`, key) // told to nobody
	require.NoError(t, err)
	servertest.Eventually(t, func() bool { return a.read(t, key).Text == "new" }, "the cache is left alone")
	require.Less(t, time.Since(stopped), time.Second)
}

// An instance that was too busy to refresh in time asks before it writes.
func TestWriteWithOldKnowledgeLearnsWhereOthersRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	before := w.epoch(t)
	a.stop()
	servertest.Eventually(t, func() bool { return a.trusted() == nil }, "what a knows is old")
	require.Equal(t, "old", b.misses(t, key).Text)
	a.write(t, key, "new")
	require.Equal(t, "new", b.hits(t, key).Text)
	require.Equal(t, before, w.epoch(t))

	servertest.Eventually(t, func() bool { return a.trusted() == nil }, "what a knows is old")
	w.raiseEpoch(t)
	servertest.Eventually(t, func() bool { return b.prefixInUse() != a.prefixInUse() }, "b has noticed")
	a.write(t, key, "newer")
	require.Equal(t, "newer", b.read(t, key).Text)
	require.Equal(t, b.prefixInUse(), a.prefixInUse())
}

func TestWithoutRunEveryReadIsAMiss(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newInstance(t)
	key := w.add(t, "one")
	a.misses(t, key)
	a.misses(t, key)
}

// The scripts of a server are gone when it restarts, or when somebody flushes them.
func TestRedisThatLostItsScriptsIsTaughtThemAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "one")
	before := w.epoch(t)
	require.NoError(t, w.redis.ScriptFlush(t.Context()).Err())
	a.misses(t, key)
	a.hits(t, key)
	require.NoError(t, w.redis.ScriptFlush(t.Context()).Err())
	a.write(t, key, "two")
	require.Equal(t, "two", a.hits(t, key).Text)
	require.Equal(t, before, w.epoch(t))

	ctx, stop := context.WithCancel(t.Context())
	var forgetting sync.WaitGroup
	forgetting.Go(func() {
		for ctx.Err() == nil {
			_ = w.redis.ScriptFlush(ctx).Err()
		}
	})
	for range 100 {
		a.write(t, key, "again")
	}
	stop()
	forgetting.Wait()
	require.Equal(t, before, w.epoch(t), "however often it forgets")
}

func TestRedisThatLostItsContentsIsFilledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "one")
	a.write(t, key, "two")
	require.NoError(t, w.redis.Del(t.Context(), a.prefixInUse()+key).Err())
	require.Equal(t, "two", a.misses(t, key).Text)
	require.Equal(t, "two", a.hits(t, key).Text)
	require.NoError(t, w.redis.Del(t.Context(), a.prefixInUse()+key).Err())
	a.write(t, key, "three")
	require.Equal(t, "three", a.hits(t, key).Text)
}

func TestCallerWhoGivesUpDoesNotTurnTheCacheOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "one")
	a.misses(t, key)
	a.stop()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	held, err := Read(gone, a.Cache, key, func(ctx context.Context) (row, int64, error) { return a.load(ctx, key) })
	require.NoError(t, err, "what is there is there")
	require.Equal(t, "one", held.Text)

	leaving, leave := context.WithCancel(t.Context())
	err = a.db.InTx(leaving, func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, key, "never"))
		leave()
		return nil
	})
	require.Error(t, err)
	require.NotNil(t, a.trusted())
}

func TestClientWhoLeavesAfterTheCommitDoesNotStopTheWriteForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	ctx, leave := context.WithCancel(t.Context())
	require.NoError(t, a.db.InTx(ctx, func(ctx context.Context) error {
		require.NoError(t, postgres.AfterCommit(ctx, func(context.Context) { leave() }))
		return a.change(ctx, key, "new")
	}))
	require.Equal(t, "new", a.hits(t, key).Text)
}

// TestServerThatLetsNobodyInIsNoSuccess: go-redis then tells the fault of the whole exchange, and none of each
// command.
func TestServerThatLetsNobodyInIsNoSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, refusal := range []string{"NOAUTH Authentication required.", "LOADING Redis is loading the dataset in memory", "ERR max number of clients reached"} {
		c := New(dial(t, "redis://:password@"+refusing(t, refusal)), w.db, valuesLive, slog.New(slog.DiscardHandler))
		require.Error(t, c.put(t.Context(), []entry{{"key", 1, nil}}, valuesLive, callTimeout), refusal)
		asked := &get{key: "key"}
		require.NoError(t, c.gets.Do(t.Context(), asked))
		require.Error(t, asked.err, refusal)
	}
}

// refusing is a server that answers every command so.
func refusing(t *testing.T, refusal string) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "*") { // begins a command
						_, _ = fmt.Fprintf(conn, "-%s\r\n", refusal)
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}
