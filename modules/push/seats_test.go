package push

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeatIsWaitedForAndNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := make(seats, 2)
		require.True(t, all.take(t.Context(), nil, 0))
		require.True(t, all.take(t.Context(), nil, 0))

		begun := time.Now()
		require.False(t, all.take(t.Context(), nil, time.Minute))
		require.Equal(t, time.Minute, time.Since(begun))

		time.AfterFunc(time.Second, all.leave)
		begun = time.Now()
		require.True(t, all.take(t.Context(), nil, time.Minute))
		require.Equal(t, time.Second, time.Since(begun))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		require.False(t, all.take(ctx, nil, time.Minute))
		require.Equal(t, time.Second, time.Since(begun))

		stopping := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stopping) })
		begun = time.Now()
		require.False(t, all.take(t.Context(), stopping, time.Minute))
		require.Equal(t, time.Second, time.Since(begun))

		all.leave()
		require.False(t, all.take(t.Context(), stopping, time.Minute), "though one is free")
	})
}
