package ratelimit

import "context"

// Tally is a context that keeps, of all the limits met in it, the result that the client should know
// of. It is for the one goroutine of a request.
type Tally struct {
	context.Context
	closest Result
	any     bool
}

type tallyKey struct{}

// Watch gives a context in which every Take is noted.
func Watch(ctx context.Context) *Tally { return &Tally{Context: ctx} }

// Value finds the tally itself in the contexts made of it.
func (t *Tally) Value(key any) any {
	if key == (tallyKey{}) {
		return t
	}
	return t.Context.Value(key)
}

// Closest is the limit that is closest to be used up; ok is false when there was none.
func (t *Tally) Closest() (r Result, ok bool) { return t.closest, t.any }

func note(ctx context.Context, r Result) {
	t, ok := ctx.Value(tallyKey{}).(*Tally)
	if !ok {
		return
	}
	if !t.any || r.RetryAfter > t.closest.RetryAfter || (t.closest.RetryAfter == 0 && r.Remaining < t.closest.Remaining) {
		t.closest, t.any = r, true
	}
}
