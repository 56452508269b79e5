package servertest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"user-service/platform/batch"
)

// HeldUp makes batches whose next n callers will be in one. It is written when release(n) is called.
func HeldUp[Asked, Answer any](t testing.TB, name string, write batch.Write[Asked, Answer]) (held *batch.Keyed[Asked, Answer], release func(n int)) {
	t.Helper()
	begun, gate := make(chan struct{}), make(chan struct{})
	var holding atomic.Int32
	holding.Store(batch.AtOnce)
	held = batch.NewKeyed(name, batch.Manner{Few: batch.AtOnce}, func(ctx context.Context, all map[string]Asked) (map[string]Answer, error) {
		if len(all) == 1 && holding.Add(-1) >= 0 {
			begun <- struct{}{}
			<-gate
			return nil, nil
		}
		return write(ctx, all)
	})
	for n := range batch.AtOnce {
		go func() {
			var none Asked
			_, _ = held.Do(context.WithoutCancel(t.Context()), fmt.Sprint("holds up the others ", n), none)
		}()
		<-begun
	}
	return held, func(n int) {
		t.Helper()
		Eventually(t, func() bool { return held.Waiting() == n }, "%d wait", n)
		close(gate)
	}
}
