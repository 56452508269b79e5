package batch_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/platform/batch"
	"user-service/platform/servertest"
)

// gated runs a batch when it is told to, and notes it down.
type gated struct {
	*batch.Group[int]
	mu    sync.Mutex
	runs  [][]int
	begun chan struct{}
	goOn  chan struct{}
}

func newGated(limit int) *gated {
	g := &gated{begun: make(chan struct{}), goOn: make(chan struct{})}
	g.Group = batch.New(limit, func(items []int) {
		g.mu.Lock()
		g.runs = append(g.runs, items)
		g.mu.Unlock()
		g.begun <- struct{}{}
		<-g.goOn
	})
	return g
}

// join adds item and returns when it waits as the nth.
func (g *gated) join(t *testing.T, callers *errgroup.Group, item, nth int) {
	callers.Go(func() error { return g.Do(t.Context(), item) })
	servertest.Eventually(t, func() bool { return g.Waiting() == nth }, "%d wait", nth)
}

func TestWhoComesDuringARunIsInTheNext(t *testing.T) {
	t.Parallel()
	g := newGated(1)
	var callers errgroup.Group
	callers.Go(func() error { return g.Do(t.Context(), 1) })
	<-g.begun // alone, and at once
	for n := 2; n <= 5; n++ {
		g.join(t, &callers, n, n-1)
	}
	g.goOn <- struct{}{}
	<-g.begun
	g.goOn <- struct{}{}
	require.NoError(t, callers.Wait())
	require.Equal(t, [][]int{{1}, {2, 3, 4, 5}}, g.runs)
}

func TestNoMoreRunsAtOnceThanTheLimit(t *testing.T) {
	t.Parallel()
	g := newGated(2)
	var callers errgroup.Group
	for n := range 2 {
		callers.Go(func() error { return g.Do(t.Context(), n) })
		<-g.begun
	}
	g.join(t, &callers, 3, 1)
	g.join(t, &callers, 4, 2)
	g.goOn <- struct{}{}
	<-g.begun
	g.goOn <- struct{}{}
	g.goOn <- struct{}{}
	require.NoError(t, callers.Wait())
	require.Len(t, g.runs, 3)
	require.Equal(t, []int{3, 4}, g.runs[2])
}

func TestEveryItemIsRunOnce(t *testing.T) {
	t.Parallel()
	const callers, each = 32, 500
	var runs, at [callers * each]atomic.Int32
	var running atomic.Int32
	g := batch.New(3, func(items []int) {
		if now := running.Add(1); now > 3 {
			t.Errorf("%d at once", now)
		}
		for _, item := range items {
			runs[item].Add(1)
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
}

func TestWhoGivesUpIsRunAllTheSame(t *testing.T) {
	t.Parallel()
	g := newGated(1)
	ctx, leave := context.WithCancel(t.Context())
	var gone, stays errgroup.Group
	gone.Go(func() error { return g.Do(ctx, 1) })
	<-g.begun
	leave()
	require.ErrorIs(t, gone.Wait(), context.Canceled)
	g.join(t, &stays, 2, 1)
	g.goOn <- struct{}{}
	<-g.begun
	g.goOn <- struct{}{}
	require.NoError(t, stays.Wait())
	require.Equal(t, [][]int{{1}, {2}}, g.runs)
}

func TestPanicIsTheErrorOfThoseInTheRunAndOfNobodyElse(t *testing.T) {
	t.Parallel()
	g := batch.New(1, func(items []int) {
		if items[0] < 0 {
			panic("as asked")
		}
	})
	require.ErrorContains(t, g.Do(t.Context(), -1), "as asked")
	require.NoError(t, g.Do(t.Context(), 1))
}
