package cache

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// What was announced in one namespace is unknown in the next, until it is committed there too.
func TestNewNamespaceIsLeftAloneUntilWhatWasAnnouncedInTheOldOneIsCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	before := b.prefixInUse()
	a.writeAndCrash(t, key, "new", func() {
		w.raiseEpoch(t)
		b.moved(t, before)
		require.Equal(t, "old", b.misses(t, key).Text)
	})
	require.Equal(t, "new", b.read(t, key).Text)
	b.settle(t)
	require.Equal(t, "new", b.read(t, key).Text)
}

func TestNamespaceIsReadOnceItHasSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	before := a.prefixInUse()
	began := time.Now()
	w.raiseEpoch(t)
	a.moved(t, before)
	a.settle(t)
	require.GreaterOrEqual(t, time.Since(began), settleFor)
	require.Less(t, time.Since(began), settleFor+2*time.Second)
}

// A commit that takes longer than namespaces settle, and cannot be written forward.
func TestChangeThatCannotBeWrittenForwardAfterASlowCommitIsToldByTheEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	before := b.prefixInUse()
	require.NoError(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, key, "new"))
		return onceAnnounced(ctx, func() error {
			w.raiseEpoch(t)
			b.moved(t, before)
			b.settle(t)
			require.Equal(t, "old", b.misses(t, key).Text)
			require.Equal(t, "old", b.hits(t, key).Text)
			a.proxy.Cut()
			return nil
		})
	}))
	committed := time.Now()
	for asked := time.Now(); b.read(t, key).Text == "old"; asked = time.Now() {
		require.Less(t, asked.Sub(committed), time.Second, "still stale")
	}
	b.settle(t)
	require.Equal(t, "new", b.read(t, key).Text)
}

func TestDatabasesThatShareARedisDoNotMix(t *testing.T) {
	t.Parallel()
	one, other := newWorld(t), newWorld(t)
	a, b := one.instance(t), other.instance(t)
	require.NotEqual(t, a.prefixInUse(), b.prefixInUse())
}

// A server that restarts with the contents of an old file, or takes over with what it held when it
// was the master before, has a new replication id.
func TestOldContentsThatComeBackWithARestartedServerAreNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	restarted := new(atomic.Bool)
	a, b := w.newInstance(t), w.newInstance(t)
	for _, i := range []*instance{a, b} {
		i.redis.AddHook(renumbered{restarted})
		i.run(t)
		i.settle(t)
	}
	key := w.add(t, "old")
	require.Equal(t, "old", a.misses(t, key).Text)
	name := a.prefixInUse() + key
	saved, err := w.redis.Get(t.Context(), name).Result()
	require.NoError(t, err)
	a.write(t, key, "new")
	require.Equal(t, "new", b.hits(t, key).Text)

	restarted.Store(true)
	require.NoError(t, w.redis.Set(t.Context(), name, saved, valuesLive).Err())
	back := time.Now()
	for asked := time.Now(); a.read(t, key).Text == "old" || b.read(t, key).Text == "old"; asked = time.Now() {
		require.Less(t, asked.Sub(back), time.Second, "still stale")
	}
	a.settle(t)
	b.settle(t)
	require.Equal(t, "new", a.read(t, key).Text)
	require.Equal(t, "new", b.hits(t, key).Text)
}

// What a refresh asked before a write raised the epoch is over when it is answered.
func TestRefreshThatBeganBeforeAWriteDoesNotBringBackWhatTheWriteEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", a.misses(t, key).Text)
	a.stop()
	slow := slowInfo{asked: make(chan struct{}), answer: make(chan struct{})}
	a.redis.AddHook(slow)
	refreshed := make(chan struct{})
	go func() {
		_ = a.refresh(t.Context())
		close(refreshed)
	}()
	<-slow.asked
	a.distrust() // Redis failed somebody
	a.write(t, key, "new")
	close(slow.answer)
	<-refreshed
	require.Equal(t, "new", a.read(t, key).Text)
}

// slowInfo answers INFO when it is told to.
type slowInfo struct{ asked, answer chan struct{} }

func (slowInfo) DialHook(next redis.DialHook) redis.DialHook { return next }

func (slowInfo) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h slowInfo) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "info" {
			close(h.asked)
			<-h.answer
		}
		return next(ctx, cmd)
	}
}

// renumbered shows the server of this client as one that was restarted.
type renumbered struct{ restarted *atomic.Bool }

func (renumbered) DialHook(next redis.DialHook) redis.DialHook { return next }

func (renumbered) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h renumbered) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if info, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "info" && h.restarted.Load() {
			info.SetVal(strings.Replace(info.Val(), "master_replid:", "master_replid:00ff", 1))
		}
		return err
	}
}

func TestWritesGoOnWhileInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "zero")
	for _, text := range []string{"one", "two"} {
		b := w.newInstance(t)
		b.run(t)
		a.write(t, key, text)
		require.Equal(t, text, b.read(t, key).Text)
		servertest.Eventually(t, func() bool { return b.trusted() != nil }, "the instance knows the namespace")
		b.write(t, key, text+" and a half")
		b.stop()
		require.Equal(t, text+" and a half", a.hits(t, key).Text)
	}
}

// Some instance has raised the epoch; a has noticed, b has not yet.
func TestWriteInANewNamespaceIsAnnouncedToThoseWhoStillReadTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", b.misses(t, key).Text)
	a.stop()
	b.stop()
	for range 3 { // b reads none of those in between
		w.raiseEpoch(t)
		require.NoError(t, a.refresh(t.Context()))
	}
	a.write(t, key, "new")
	require.Equal(t, "new", b.read(t, key).Text)
}
