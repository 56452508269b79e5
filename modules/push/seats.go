package push

import (
	"context"
	"time"
)

// seats are taken by so many at once.
type seats chan struct{}

// take waits for one that is free: so long at the most. When stopping is closed there is none, free or not.
func (s seats) take(ctx context.Context, stopping <-chan struct{}, within time.Duration) bool {
	select {
	case <-stopping:
		return false
	default:
	}
	select {
	case s <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return true
	case <-timer.C:
	case <-stopping:
	case <-ctx.Done():
	}
	return false
}

func (s seats) leave() { <-s }
