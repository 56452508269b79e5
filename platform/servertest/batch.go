package servertest

import (
	"context"
	"testing"

	"user-service/platform/batch"
)

// HeldUp makes batches whose next n callers will be in one. It is written when release(n) is called.
func HeldUp[Asked, Answer any](t testing.TB, name string, write batch.Write[Asked, Answer]) (held *batch.Keyed[Asked, Answer], release func(n int)) {
	t.Helper()
	const first = "holds up the others"
	begun, gate := make(chan struct{}), make(chan struct{})
	held = batch.NewKeyed(name, func(ctx context.Context, all map[string]Asked) (map[string]Answer, error) {
		if _, is := all[first]; is {
			begun <- struct{}{}
			<-gate
			return nil, nil
		}
		return write(ctx, all)
	})
	for range batch.AtOnce {
		go func() {
			var none Asked
			_, _ = held.Do(context.WithoutCancel(t.Context()), first, none)
		}()
		<-begun
	}
	return held, func(n int) {
		t.Helper()
		Eventually(t, func() bool { return held.Waiting() == n }, "%d wait", n)
		close(gate)
	}
}
