package auth

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
)

// TestUnknownAccountTakesAsMuchWorkAsAKnownOne compares the quickest of several runs, taken in turns:
// noise only makes a run slower.
func TestUnknownAccountTakesAsMuchWorkAsAKnownOne(t *testing.T) {
	t.Parallel()
	p := newPasswords(DefaultCost, nil, slog.New(slog.DiscardHandler))
	hash, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	quickest := map[string]time.Duration{}
	for range 5 {
		for stored, want := range map[string]bool{hash: true, "": false, "!unusable": false} {
			start := time.Now()
			match, err := p.matches(t.Context(), "correct horse battery", stored)
			took := time.Since(start)
			require.NoError(t, err)
			require.Equal(t, want, match)
			if before, found := quickest[stored]; !found || took < before {
				quickest[stored] = took
			}
		}
	}
	for _, unknown := range []string{"", "!unusable"} {
		require.Greater(t, quickest[unknown], quickest[hash]/4, "%q answers at once", unknown)
		require.Less(t, quickest[unknown], quickest[hash]*4)
	}
	require.False(t, outdated(decoy(DefaultCost), DefaultCost), "it costs what ours cost")
}

func TestHashesQueueUpAndTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	p := newPasswords(DefaultCost, nil, slog.New(slog.DiscardHandler))
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

// TestMain is also the process for hashes that these tests start.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "serve-hashes") {
		if err := ServeHashes(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// inBackground hashes in processes, however long they get no time.
func inBackground() *passwords {
	cheap := Cost{Memory: 64, Passes: 1, Lanes: 1}
	p := newPasswords(cheap, []string{os.Args[0], "serve-hashes"}, slog.New(slog.DiscardHandler))
	p.patience = time.Hour
	return p
}

func TestHashesAreMadeByProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := inBackground()
	const password = "пароль\xff, not even UTF-8"
	hash, err := p.hash(t.Context(), password)
	require.NoError(t, err)
	require.Len(t, p.hashers, 1)
	first := p.hashers[0]
	for given, want := range map[string]bool{password: true, password + "x": false, "пароль\xfe, not even UTF-8": false} {
		match, err := p.matches(t.Context(), given, hash)
		require.NoError(t, err)
		require.Equal(t, want, match)
	}
	require.Equal(t, []*hasher{first}, p.hashers, "one is enough for one at a time")

	require.NoError(t, first.process.Process.Kill())
	match, err := p.matches(t.Context(), password, hash)
	require.NoError(t, err, "whatever happens to it, the password is checked")
	require.True(t, match)
	require.Empty(t, p.hashers)
	match, err = p.matches(t.Context(), password, hash)
	require.NoError(t, err)
	require.True(t, match)
	require.Len(t, p.hashers, 1, "and the next one is started")
	require.NotSame(t, first, p.hashers[0])
}

// TestHashesAreMadeHereWhenTheBackgroundGetsNoTime stops the processes, as a machine that is busy with
// all else might.
func TestHashesAreMadeHereWhenTheBackgroundGetsNoTime(t *testing.T) {
	t.Parallel()
	p := inBackground()
	hash, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	starved := p.hashers[0]
	p.started = cap(p.cores) // it is the last one that may be started
	p.patience = time.Millisecond
	require.NoError(t, starved.process.Process.Signal(syscall.SIGSTOP))
	for range 3 {
		match, err := p.matches(t.Context(), "correct horse battery", hash)
		require.NoError(t, err)
		require.True(t, match)
		require.Equal(t, cap(p.cores), p.started)
	}
	require.WithinDuration(t, time.Now().Add(starvedFor), p.crowded, starvedFor, "the background is left alone for a while")
	require.NoError(t, starved.process.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Contains(p.hashers, starved)
	}, 10*time.Second, time.Millisecond, "it goes on where it was")
	p.crowded, p.patience = time.Time{}, time.Hour
	match, err := p.matches(t.Context(), "correct horse battery", hash)
	require.NoError(t, err)
	require.True(t, match)
	require.Equal(t, []*hasher{starved}, p.hashers, "and is used again")
}

func TestHashesAreMadeHereWhereNoProcessStarts(t *testing.T) {
	t.Parallel()
	p := newPasswords(DefaultCost, []string{"/nowhere"}, slog.New(slog.DiscardHandler))
	hash, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	match, err := p.matches(t.Context(), "correct horse battery", hash)
	require.NoError(t, err)
	require.True(t, match)
}

func TestProcessesForHashesEndWhenTheyAreNotNeeded(t *testing.T) {
	t.Parallel()
	p := inBackground()
	hash, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	first := p.hashers[0].process
	require.True(t, p.unused.Stop(), "it was about to end them later")
	p.endHashers()
	require.Empty(t, p.hashers)
	require.NotNil(t, first.ProcessState, "it has ended by itself")
	require.True(t, first.ProcessState.Success())
	match, err := p.matches(t.Context(), "correct horse battery", hash)
	require.NoError(t, err)
	require.True(t, match, "another one is started")
}
