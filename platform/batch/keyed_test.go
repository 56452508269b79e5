package batch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/platform/batch"
	"user-service/platform/servertest"
)

type words = map[string]string

func TestOfAKeyThatComesTwiceTheLaterIsWrittenLater(t *testing.T) {
	t.Parallel()
	var written [][]string
	held, release := servertest.HeldUp(t, "test", func(_ context.Context, all words) (words, error) {
		written = append(written, slices.Sorted(maps.Values(all)))
		return all, nil
	})
	var callers errgroup.Group
	for n, asked := range []string{"a1", "b1", "a2", "c1", "a3"} {
		callers.Go(func() error {
			answer, err := held.Do(t.Context(), asked[:1], asked)
			if err == nil && answer != asked {
				err = fmt.Errorf("%s was answered %q", asked, answer)
			}
			return err
		})
		servertest.Eventually(t, func() bool { return held.Waiting() == n+1 }, "%s waits", asked)
	}
	release(5)
	require.NoError(t, callers.Wait())
	require.Equal(t, [][]string{{"a1", "b1", "c1"}, {"a2"}, {"a3"}}, written)
}

func TestFewDoNotWaitForEachOtherAndACrowdIsWrittenTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var written [][]string
		until := make(chan struct{})
		b := batch.NewKeyed("test", batch.Manner{Few: 3}, func(_ context.Context, all words) (words, error) {
			mu.Lock()
			written = append(written, slices.Sorted(maps.Values(all)))
			mu.Unlock()
			<-until
			return all, nil
		})
		var callers errgroup.Group
		for _, asked := range []string{"a", "b", "c", "d", "e"} {
			callers.Go(func() error { _, err := b.Do(t.Context(), asked, asked); return err })
			synctest.Wait()
		}
		require.Equal(t, [][]string{{"a"}, {"b"}, {"c"}}, written)
		close(until)
		require.NoError(t, callers.Wait())
		require.Equal(t, [][]string{{"a"}, {"b"}, {"c"}, {"d", "e"}}, written)
	})
}

// TestWhoMayGoOnWaitsForNoRunOfOthers whether it was its key that was not free, or that there were too many.
func TestWhoMayGoOnWaitsForNoRunOfOthers(t *testing.T) {
	t.Parallel()
	for _, asked := range [][]string{{"a1", "long", "a2"}, {"a1", "b", "c", "long", "d2"}} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			var later time.Duration
			b := batch.NewKeyed("test", batch.Manner{Few: 4}, func(_ context.Context, all words) (words, error) {
				for _, word := range all {
					if strings.HasSuffix(word, "2") {
						later = time.Since(begun)
					}
				}
				took := 2 * time.Millisecond
				if all["l"] != "" {
					took = batch.Patience - time.Millisecond
				}
				<-time.After(took)
				return all, nil
			})
			var callers errgroup.Group
			for _, word := range asked {
				callers.Go(func() error { _, err := b.Do(t.Context(), word[:1], word); return err })
				synctest.Wait()
			}
			require.NoError(t, callers.Wait())
			require.Equal(t, 2*time.Millisecond, later, "when the first of %v had ended", asked)
		})
	}
}

// TestBatchThatIsSlowHoldsUpNoOther is about the latency of all whose batch is another one.
func TestBatchThatIsSlowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	begun, slow := make(chan struct{}), make(chan struct{})
	b := batch.NewKeyed("test", batch.Manner{}, func(_ context.Context, all words) (words, error) {
		if _, is := all["slow"]; is {
			close(begun)
			<-slow
		}
		return all, nil
	})
	var callers errgroup.Group
	callers.Go(func() error { _, err := b.Do(t.Context(), "slow", ""); return err })
	<-begun
	_, err := b.Do(t.Context(), "other", "")
	require.NoError(t, err)
	close(slow)
	require.NoError(t, callers.Wait())
}

func TestBatchThatFailsIsWrittenOneByOne(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	held, release := servertest.HeldUp(t, "test", func(_ context.Context, all words) (words, error) {
		if _, bad := all["bad"]; bad {
			return nil, refused
		}
		return all, nil
	})
	var good, bad errgroup.Group
	for n := range 10 {
		good.Go(func() error { _, err := held.Do(t.Context(), fmt.Sprint(n), "good"); return err })
	}
	bad.Go(func() error { _, err := held.Do(t.Context(), "bad", "bad"); return err })
	release(11)
	require.NoError(t, good.Wait())
	require.ErrorIs(t, bad.Wait(), refused)
}

func TestWhoMakesTheWriterPanicDoesSoAloneAndLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	held, release := servertest.HeldUp(t, "test", func(_ context.Context, all words) (words, error) {
		if _, bad := all["bad"]; bad {
			panic("as asked")
		}
		return all, nil
	})
	var good, bad errgroup.Group
	for n := range 3 {
		good.Go(func() error { _, err := held.Do(t.Context(), fmt.Sprint(n), ""); return err })
	}
	bad.Go(func() (err error) {
		defer func() { err = fmt.Errorf("recovered: %v", recover()) }() // as Recoverer would
		_, err = held.Do(t.Context(), "bad", "")
		return err
	})
	release(4)
	require.NoError(t, good.Wait())
	require.EqualError(t, bad.Wait(), "recovered: as asked")
}
