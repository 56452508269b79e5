package messaging

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func TestManyScrapesShareOneLook(t *testing.T) {
	t.Parallel()
	var begun atomic.Int64
	release := make(chan struct{})
	g := glance[string]{look: func(context.Context) (string, error) {
		begun.Add(1)
		<-release
		return "seen", nil
	}}
	_, ok := g.value()
	require.False(t, ok, "a server that does not answer has no figures")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _, _ = g.value() })
	}
	all.Wait()
	require.EqualValues(t, 1, begun.Load())
	close(release)
	servertest.Eventually(t, func() bool { seen, ok := g.value(); return ok && seen == "seen" }, "the look that was under way")
}

func TestWhatWasSeenIsShownForAMomentOnly(t *testing.T) {
	t.Parallel()
	g := glance[int]{look: func(context.Context) (int, error) { return 0, errors.New("away") }}
	g.seen, g.taken = 7, time.Now().Add(time.Hour)
	seen, ok := g.value()
	require.True(t, ok)
	require.Equal(t, 7, seen)
	g.taken = time.Now().Add(-glanceFor)
	_, ok = g.value()
	require.False(t, ok)
}
