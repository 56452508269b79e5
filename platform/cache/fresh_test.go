package cache

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

func TestWriteIsReadAtOnceFromTheCacheOfEveryInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "one")
	for _, text := range []string{"two", "three", "four"} {
		a.write(t, key, text)
		require.Equal(t, text, b.hits(t, key).Text)
		require.Equal(t, text, a.hits(t, key).Text)
	}
}

func TestReadKeepsWhatItLoadedForEveryInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "one")
	require.Equal(t, row{"one", 1}, a.misses(t, key))
	require.Equal(t, row{"one", 1}, a.hits(t, key))
	require.Equal(t, row{"one", 1}, b.hits(t, key))
	lives, err := w.redis.PTTL(t.Context(), a.prefixInUse()+key).Result()
	require.NoError(t, err)
	require.InDelta(t, valuesLive, lives, float64(time.Minute))
}

func TestLoadFromBeforeAWriteNeverReplacesWhatWasWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	finish := b.startRead(t, key)
	a.write(t, key, "new")
	require.Equal(t, "old", finish().Text) // began before the write
	require.Equal(t, "new", b.hits(t, key).Text)
}

func TestCrashBetweenCommitAndWriteForwardLeavesAMissOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", b.misses(t, key).Text)
	late := w.add(t, "old")
	finish := b.startRead(t, late)

	a.writeAndCrash(t, key, "new", func() {})
	require.Equal(t, "new", b.misses(t, key).Text)
	servertest.Eventually(t, func() bool { // a busy machine may take longer to load than may be kept
		before := a.loads.Load()
		require.Equal(t, "new", a.read(t, key).Text)
		return a.loads.Load() == before
	}, "a miss that fills the cache")

	a.writeAndCrash(t, late, "new", func() {})
	finish()
	require.Equal(t, "new", b.misses(t, late).Text, "a load from before the commit was kept")
}

func TestBetweenAnnouncementAndCommitOthersReadTheOldRowAndKeepNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", b.misses(t, key).Text)
	a.writeAndCrash(t, key, "new", func() {
		require.Equal(t, "old", b.misses(t, key).Text)
		require.Equal(t, "old", b.misses(t, key).Text)
	})
	require.Equal(t, "new", b.misses(t, key).Text)
}

func TestRolledBackChangeLeavesTheRowAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "one")
	rollBack := func() {
		refusal := errors.New("refused")
		require.ErrorIs(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, a.change(ctx, key, "never"))
			return onceAnnounced(ctx, func() error { return refusal })
		}), refusal)
	}
	rollBack()
	require.Equal(t, row{"one", 1}, a.read(t, key))
	require.Equal(t, row{"one", 1}, b.read(t, key))

	a.write(t, key, "two")
	require.Equal(t, row{"two", 2}, b.hits(t, key))
}

func TestAnnouncementLivesAnewAfterOneThatWasRolledBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	name := a.prefixInUse() + key
	require.NoError(t, w.redis.Set(t.Context(), name, "2:", 5*time.Second).Err())
	a.writeAndCrash(t, key, "new", func() {
		lives, err := w.redis.PTTL(t.Context(), name).Result()
		require.NoError(t, err)
		require.Greater(t, lives, announceFor-5*time.Second)
	})
}

func TestTransactionReadsItsOwnRowsAndShowsThemToNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	key := w.add(t, "old")
	require.Equal(t, "old", a.misses(t, key).Text)
	refusal := errors.New("refused")
	require.ErrorIs(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, key, "never"))
		r, err := Read(ctx, a.Cache, key, func(ctx context.Context) (row, int64, error) { return a.load(ctx, key) })
		require.NoError(t, err)
		require.Equal(t, "never", r.Text)
		require.Equal(t, "old", b.read(t, key).Text)
		return refusal
	}), refusal)
	require.Equal(t, "old", b.read(t, key).Text)
}

func TestChangeMadeByAnotherHookIsAnnouncedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	first, second := w.add(t, "old"), w.add(t, "old")
	require.Equal(t, "old", a.misses(t, second).Text)
	require.PanicsWithValue(t, "crash", func() {
		_ = a.db.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, postgres.AfterCommit(ctx, func(context.Context) { panic("crash") }))
			require.NoError(t, a.change(ctx, first, "new"))
			return postgres.BeforeCommit(ctx, func(ctx context.Context) error { return a.change(ctx, second, "new") })
		})
	})
	require.Equal(t, "new", a.misses(t, second).Text)
}

func TestSeveralChangesOfOneTransactionAreWrittenForwardTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	one, other := w.add(t, "old"), w.add(t, "old")
	require.NoError(t, a.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.change(ctx, one, "passing"))
		require.NoError(t, a.change(ctx, other, "new"))
		return a.change(ctx, one, "new")
	}))
	require.Equal(t, row{"new", 3}, b.hits(t, one))
	require.Equal(t, row{"new", 2}, b.hits(t, other))
}

func TestChangeOutsideATransactionIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.ErrorIs(t, w.newInstance(t).Changed(t.Context(), "key", 2, row{}), postgres.ErrNoTransaction)
}

func TestAbsenceIsNeverCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := "not there yet"
	for range 2 {
		_, err := Read(t.Context(), a.Cache, key, func(ctx context.Context) (row, int64, error) { return a.load(ctx, key) })
		require.ErrorIs(t, err, postgres.ErrNoRows)
	}
	_, err := w.db.Exec(t.Context(), `INSERT INTO rows VALUES ($1, 1, 'there')`, key)
	require.NoError(t, err)
	require.Equal(t, "there", a.read(t, key).Text)
}

// A release that knew nothing of a field would have left it empty.
func TestValueOfAnotherReleaseIsReadFromTheDatabaseAndReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "right")
	type older struct{ Version int64 }
	_, err := Read(t.Context(), a.Cache, key, func(context.Context) (older, int64, error) { return older{1}, 1, nil })
	require.NoError(t, err)
	require.Equal(t, "right", a.misses(t, key).Text)
	require.Equal(t, "right", a.hits(t, key).Text)

	for _, garbage := range []string{`1:`, `1`, `1:{"Text": "wrong"}`, `1:` + shape(reflect.TypeFor[row]()) + `:{"Text": 7}`} {
		a.settle(t)
		require.NoError(t, w.redis.Set(t.Context(), a.prefixInUse()+key, garbage, valuesLive).Err())
		require.Equal(t, "right", a.misses(t, key).Text, garbage)
		require.Equal(t, "right", a.hits(t, key).Text, garbage)
	}
}

func TestLoadThatTookLongIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "old")
	began := time.Now()
	finish := a.startRead(t, key)
	servertest.Eventually(t, func() bool { return time.Since(began) > loadFor+100*time.Millisecond }, "the load took long")
	finish()
	a.misses(t, key)
	a.hits(t, key)
}

// TestDamagedValueIsReadAnewAndMended: somebody else writes to Redis too.
func TestDamagedValueIsReadAnewAndMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.instance(t)
	key := w.add(t, "whole")
	load := func(ctx context.Context) (r row, version int64, err error) {
		err = w.db.Get(ctx, &r, `SELECT "text", version FROM rows WHERE key = $1`, key)
		return r, r.Version, err
	}
	want := `{"Text":"whole","Version":1}`
	for _, damage := range []func(held string) string{
		func(held string) string { return held },
		func(held string) string { return held[:len(held)-1] },
		func(held string) string { return held + "}" },
		func(string) string { return "garbage" },
		func(string) string { return "" },
	} {
		got, err := ReadJSON(t.Context(), i.Cache, key, load)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
		name := i.prefixInUse() + key
		held := w.redis.Get(t.Context(), name).Val()
		require.NoError(t, w.redis.Set(t.Context(), name, damage(held), time.Minute).Err())
		for range 2 {
			got, err = ReadJSON(t.Context(), i.Cache, key, load)
			require.NoError(t, err)
			require.JSONEq(t, want, string(got))
			decoded, err := Read(t.Context(), i.Cache, key, load)
			require.NoError(t, err)
			require.Equal(t, row{"whole", 1}, decoded)
		}
		require.NoError(t, w.redis.Del(t.Context(), name).Err())
	}
}

// TestReaderWhoLeavesDisturbsNobody: what was asked for is read all the same.
func TestReaderWhoLeavesDisturbsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.instance(t)
	key := w.add(t, "text")
	a.misses(t, key)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for n := range 300 {
				ctx, leave := context.WithTimeout(t.Context(), time.Duration(n)*time.Microsecond)
				r, err := Read(ctx, a.Cache, key, func(context.Context) (row, int64, error) { return row{"text", 1}, 1, nil })
				leave()
				if err != nil || r.Text != "text" {
					t.Errorf("%v, %v", r, err)
				}
			}
		})
	}
	readers.Wait()
}

// TestOthersSeeAtOnceWhatAnInstanceChangesThatHasJustStarted: they need not notice another epoch first.
func TestOthersSeeAtOnceWhatAnInstanceChangesThatHasJustStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.instance(t)
	key, epoch := w.add(t, "before"), w.epoch(t)
	require.Equal(t, "before", other.read(t, key).Text)
	require.Equal(t, "before", other.hits(t, key).Text)
	started := w.newInstance(t)
	started.Learn(t.Context())
	started.write(t, key, "after")
	require.Equal(t, "after", other.read(t, key).Text)
	require.Equal(t, epoch, w.epoch(t))
}
