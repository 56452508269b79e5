package auth

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
)

// TestUnknownAccountTakesAsMuchWorkAsAKnownOne compares the quickest of several runs: noise only
// makes a run slower.
func TestUnknownAccountTakesAsMuchWorkAsAKnownOne(t *testing.T) {
	t.Parallel()
	p := newPasswords()
	hash, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	quickest := func(hash string, want bool) time.Duration {
		t.Helper()
		var runs []time.Duration
		for range 7 {
			start := time.Now()
			match, err := p.matches(t.Context(), "correct horse battery", hash)
			runs = append(runs, time.Since(start))
			require.NoError(t, err)
			require.Equal(t, want, match)
		}
		return slices.Min(runs)
	}
	known, unknown := quickest(hash, true), quickest("", false)
	require.Greater(t, unknown, known/2, "an unknown account answers at once")
	require.Less(t, unknown, known*2)

	params, _, _, err := argon2id.DecodeHash(decoy)
	require.NoError(t, err)
	require.Equal(t, cost, params)
}

func TestHashesQueueUpAndTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	p := newPasswords()
	for range cap(p.cores) {
		p.cores <- struct{}{} // every core is at work
	}
	var waiting sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	for range maxWaiting {
		waiting.Go(func() {
			_, err := p.hash(ctx, "x")
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	require.Eventually(t, func() bool { return p.waiting.Load() == maxWaiting }, 5*time.Second, time.Millisecond)
	_, err := p.matches(t.Context(), "x", "")
	require.Equal(t, fault.Unavailable, fault.From(err).Kind)
	require.Positive(t, fault.From(err).RetryAfter)
	leave()
	waiting.Wait()
	<-p.cores
	_, err = p.matches(t.Context(), "x", "")
	require.NoError(t, err)
}
