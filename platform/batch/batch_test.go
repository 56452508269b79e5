package batch_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/platform/batch"
)

// gated runs batches, notes them down, and ends each when it is told to.
type gated struct {
	*batch.Group[int]
	mu   sync.Mutex
	runs [][]int
	ends [16]chan struct{} // of the run whose first item this is
}

func newGated() *gated {
	g := new(gated)
	for n := range g.ends {
		g.ends[n] = make(chan struct{})
	}
	g.Group = batch.New(batch.Manner{}, func(items []int) {
		g.mu.Lock()
		g.runs = append(g.runs, items)
		g.mu.Unlock()
		<-g.ends[items[0]]
	})
	return g
}

// begun are the runs so far.
func (g *gated) begun() [][]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.runs)
}

// end has the run of item end, and returns when the next one has begun, or has not.
func (g *gated) end(item int) {
	close(g.ends[item])
	synctest.Wait()
}

// join adds item, and returns when it is run or waits.
func (g *gated) join(t *testing.T, callers *errgroup.Group, item int) {
	callers.Go(func() error { return g.Do(t.Context(), item) })
	synctest.Wait()
}

func TestWhoComesDuringARunIsInTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		var callers errgroup.Group
		for n := range 5 {
			g.join(t, &callers, n)
		}
		require.Equal(t, [][]int{{0}}, g.begun(), "alone, and at once")
		require.Equal(t, 4, g.Waiting())
		g.end(0)
		g.end(1)
		require.NoError(t, callers.Wait())
		require.Equal(t, [][]int{{0}, {1, 2, 3, 4}}, g.begun())
	})
}

func TestWhoFindsNoRunLingersForCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs [][]int
		g := batch.New(batch.Manner{Linger: time.Millisecond}, func(items []int) {
			runs = append(runs, items)
			<-time.After(2 * time.Millisecond)
		})
		var callers errgroup.Group
		begun := time.Now()
		for n := range 6 {
			callers.Go(func() error { return g.Do(t.Context(), n) })
			<-time.After(400 * time.Microsecond)
		}
		require.NoError(t, callers.Wait())
		require.Equal(t, [][]int{{0, 1, 2}, {3, 4, 5}}, runs)
		require.Equal(t, 5*time.Millisecond, time.Since(begun), "who comes during a run goes on when it has ended")
	})
}

func TestWhoWaitsForARunThatTakesLongGetsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		var callers errgroup.Group
		g.join(t, &callers, 0)
		for n := 1; n < batch.AtOnce+2; n++ {
			g.join(t, &callers, n)
			require.Len(t, g.begun(), min(n, batch.AtOnce), "it waits")
			<-time.After(batch.Patience)
			synctest.Wait()
			require.Len(t, g.begun(), min(n+1, batch.AtOnce), "but not for longer than that, unless there are many runs")
		}
		for n := range batch.AtOnce {
			g.end(n)
		}
		g.end(batch.AtOnce)
		require.NoError(t, callers.Wait())
		require.Equal(t, []int{batch.AtOnce, batch.AtOnce + 1}, g.begun()[batch.AtOnce])
	})
}

func TestAfterARunThatTookLongThereIsOneAtATimeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		var callers errgroup.Group
		g.join(t, &callers, 0)
		<-time.After(batch.Patience)
		g.join(t, &callers, 1)
		g.join(t, &callers, 2)
		g.end(0)
		require.Equal(t, [][]int{{0}, {1}}, g.begun(), "the run under way will take it")
		g.end(1)
		g.join(t, &callers, 3)
		require.Equal(t, [][]int{{0}, {1}, {2}}, g.begun())
		g.end(2)
		g.end(3)
		require.NoError(t, callers.Wait())
	})
}

func TestEveryItemIsRunOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 32, 500
		var runs, at [callers * each]atomic.Int32
		var running atomic.Int32
		g := batch.New(batch.Manner{}, func(items []int) {
			if now := running.Add(1); now > batch.AtOnce {
				t.Errorf("%d at once", now)
			}
			for _, item := range items {
				runs[item].Add(1)
				<-time.After(time.Duration(item%100) * time.Millisecond) // some so long that others begin meanwhile
			}
			running.Add(-1)
		})
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				for n := range each {
					item := c*each + n
					if err := g.Do(t.Context(), item); err != nil {
						t.Error(err)
					}
					at[item].Store(runs[item].Load())
				}
			})
		}
		all.Wait()
		for item := range at {
			require.EqualValues(t, 1, runs[item].Load())
			require.EqualValues(t, 1, at[item].Load(), "it had been run when its caller went on")
		}
	})
}

func TestWhoGivesUpIsRunAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		ctx, leave := context.WithCancel(t.Context())
		var gone, stays errgroup.Group
		gone.Go(func() error { return g.Do(ctx, 1) })
		synctest.Wait()
		leave()
		require.ErrorIs(t, gone.Wait(), context.Canceled)
		g.join(t, &stays, 2)
		g.end(1)
		g.end(2)
		require.NoError(t, stays.Wait())
		require.Equal(t, [][]int{{1}, {2}}, g.begun())
	})
}

func TestPanicIsTheErrorOfThoseInTheRunAndOfNobodyElse(t *testing.T) {
	t.Parallel()
	g := batch.New(batch.Manner{}, func(items []int) {
		if items[0] < 0 {
			panic("as asked")
		}
	})
	require.ErrorContains(t, g.Do(t.Context(), -1), "as asked")
	require.NoError(t, g.Do(t.Context(), 1))
}
