package web

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBoundedEndsAsOneOfPackageContextDoes, whether somebody waits for its end or asks only when it is over.
func TestBoundedEndsAsOneOfPackageContextDoes(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	ends := map[string]struct {
		end  func(cancel, cancelParent func())
		want error
	}{
		"not at all": {func(_, _ func()) {}, nil},
		"time":       {func(_, _ func()) { <-time.After(limit) }, context.DeadlineExceeded},
		"cancel":     {func(cancel, _ func()) { cancel() }, context.Canceled},
		"parent":     {func(_, cancelParent func()) { cancelParent() }, context.Canceled},
	}
	for name, test := range ends {
		for _, waits := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancelParent := context.WithCancel(t.Context())
					defer cancelParent()
					ctx, cancel := within(parent, limit)
					defer cancel()
					deadline, ok := ctx.Deadline()
					require.True(t, ok)
					require.Equal(t, time.Now().Add(limit), deadline)
					over := func() bool {
						select {
						case <-ctx.Done():
							return true
						default:
							return false
						}
					}
					if waits {
						require.False(t, over())
					}
					test.end(cancel, cancelParent)
					synctest.Wait()
					require.Equal(t, test.want, ctx.Err())
					if waits {
						require.Equal(t, test.want != nil, over())
					}
					if test.want != nil { // whatever happens afterwards
						cancel()
						cancelParent()
						<-time.After(limit)
						require.Equal(t, test.want, ctx.Err())
						require.True(t, over())
						require.Equal(t, test.want, ctx.Err())
					}
				})
			})
		}
	}
}

func TestBoundedLastsNoLongerThanItsParent(t *testing.T) {
	t.Parallel()
	parent, cancelParent := context.WithTimeout(t.Context(), time.Second)
	defer cancelParent()
	ctx, cancel := within(parent, time.Hour)
	defer cancel()
	want, _ := parent.Deadline()
	got, _ := ctx.Deadline()
	require.Equal(t, want, got)
}

// TestContextsOfABoundedOneNeedNoGoroutine: package context starts one for each whose parent it does not know,
// and a query of the database makes such a context.
func TestContextsOfABoundedOneNeedNoGoroutine(t *testing.T) {
	type key struct{}
	ctx, cancel := within(context.WithValue(t.Context(), key{}, "kept"), time.Hour)
	defer cancel()
	before := runtime.NumGoroutine()
	for range 100 {
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		require.Equal(t, "kept", child.Value(key{}))
	}
	require.Less(t, runtime.NumGoroutine(), before+50)
}
