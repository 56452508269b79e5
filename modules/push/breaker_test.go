package push

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// scripted is a provider whose answers a test decides.
type scripted struct {
	name   string
	takes  func(token string) bool
	answer func(n Notification) error
}

func (s scripted) Name() string { return s.name }

func (s scripted) Takes(token string) bool { return s.takes(token) }

func (s scripted) Send(_ context.Context, n Notification) (string, error) {
	return "", s.answer(n)
}

var silent = slog.New(slog.DiscardHandler)

func guardOne(answer func(Notification) error) *guarded {
	return guard([]Provider{scripted{"scripted", nil, answer}}, 5, 4, newMetrics(), silent)[0]
}

func TestOnlyAnOutageOpensTheBreaker(t *testing.T) {
	t.Parallel()
	var answer error
	g := guardOne(func(Notification) error { return answer })
	for _, judged := range []error{rejected("no"), new(DeadToken), &Away{Cause: errors.New("later"), Busy: true}} {
		answer = judged
		for range 2 * tripAfter {
			_, err := g.Send(t.Context(), Notification{})
			require.ErrorIs(t, err, judged)
		}
	}
	answer = &Away{Cause: errors.New("502")}
	for range tripAfter {
		_, err := g.Send(t.Context(), Notification{})
		require.NotErrorIs(t, err, errNotTried)
	}
	_, err := g.Send(t.Context(), Notification{})
	require.ErrorIs(t, err, errNotTried)

	gates := gate{providers: []*breaker{g.breaker}}
	_, through := gates.Pass()
	require.False(t, through)
	done := passSoon(t, gates) // when it may be tried
	_, through = gates.Pass()
	require.False(t, through, "two tried at once")
	answer = nil
	_, err = g.Send(t.Context(), Notification{})
	require.NoError(t, err)
	done()
	for range 2 {
		_, through = gates.Pass()
		require.True(t, through)
	}
}

func passSoon(t *testing.T, g gate) (done func()) {
	t.Helper()
	servertest.Eventually(t, func() (through bool) {
		done, through = g.Pass()
		return through
	}, "a message may pass")
	return done
}

func TestLongerPauseIsNotShortened(t *testing.T) {
	t.Parallel()
	b := newBreaker("asked twice", 5, silent)
	for _, wait := range []time.Duration{time.Hour, time.Millisecond} {
		b.heed(&Away{Cause: errors.New("429"), Busy: true, Everybody: true, RetryAfter: wait})
	}
	require.Greater(t, time.Until(time.Unix(0, b.paused.Load())), time.Minute)
}

func TestWrongSettingsOpenTheBreakerAtOnceAndBlameNoMessage(t *testing.T) {
	t.Parallel()
	asked := 0
	g := guardOne(func(Notification) error {
		asked++
		return &Away{Cause: errors.New("401"), Everybody: true, Settings: true}
	})
	_, err := g.Send(t.Context(), Notification{})
	away := new(Away)
	require.ErrorAs(t, err, &away)
	require.True(t, away.Everybody)
	_, err = g.Send(t.Context(), Notification{})
	require.ErrorIs(t, err, errNotTried)
	require.Equal(t, 1, asked)
}

func TestWhoAsksToBeLeftAloneIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		everybody bool
		state     string
	}{"by all": {true, "paused"}, "by one device": {false, "closed"}} {
		g := guardOne(func(Notification) error {
			return &Away{Cause: errors.New("429"), Busy: true, Everybody: test.everybody, RetryAfter: time.Minute}
		})
		_, err := g.Send(t.Context(), Notification{})
		require.NotErrorIs(t, err, errNotTried, name)
		require.Equal(t, test.state, g.breaker.state(), name)
		_, err = g.Send(t.Context(), Notification{})
		require.Equal(t, test.everybody, errors.Is(err, errNotTried), name)
		_, through := g.breaker.pass()
		require.Equal(t, !test.everybody, through, name)
	}
	b := newBreaker("short", 5, silent)
	require.Error(t, b.try(func() error {
		return &Away{Cause: errors.New("429"), Busy: true, Everybody: true, RetryAfter: 50 * time.Millisecond}
	}))
	passSoon(t, gate{providers: []*breaker{b}})()
	require.Equal(t, "closed", b.state(), "the pause is over")
}

func TestNoAnswerIsTriedAgainAtOnceThreeTimesAtMost(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]int{1: 2, 2: 3, 9: 3} {
		asked := 0
		g := guardOne(func(Notification) error {
			if asked++; asked <= failures {
				return &Away{Cause: errors.New("connection reset"), Soon: true}
			}
			return nil
		})
		start := time.Now()
		_, err := g.Send(t.Context(), Notification{})
		require.Equal(t, failures > 2, err != nil)
		require.Equal(t, want, asked)
		require.Less(t, time.Since(start), quickWithin+time.Second)
	}
}

func TestOneProviderAwayStopsOnlyItsOwnMessages(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	all := guard([]Provider{
		scripted{"fcm", func(token string) bool { return token != "apple" }, func(Notification) error { return down }},
		scripted{"apns", func(token string) bool { return token == "apple" }, func(Notification) error { return nil }},
	}, 5, 4, newMetrics(), silent)
	for range tripAfter {
		_, err := senderTo(all, "google").Send(t.Context(), Notification{})
		require.Error(t, err)
	}
	_, err := senderTo(all, "google").Send(t.Context(), Notification{})
	require.ErrorIs(t, err, errNotTried)
	require.Equal(t, "fcm", providerOf(err))
	_, through := gate{providers: []*breaker{all[0].breaker, all[1].breaker}}.Pass()
	require.True(t, through)
	_, err = senderTo(all, "apple").Send(t.Context(), Notification{})
	require.NoError(t, err)
}

// TestSlowProviderLeavesHandlersToTheOther has one that does not answer at all.
func TestSlowProviderLeavesHandlersToTheOther(t *testing.T) {
	t.Parallel()
	until := make(chan struct{})
	begun := make(chan struct{}, 4)
	all := guard([]Provider{
		scripted{"fcm", func(token string) bool { return token != "apple" }, func(Notification) error {
			begun <- struct{}{}
			<-until
			return nil
		}},
		scripted{"apns", func(token string) bool { return token == "apple" }, func(Notification) error { return nil }},
	}, 5, 4, newMetrics(), silent)
	answers := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := senderTo(all, "google").Send(context.Background(), Notification{})
			answers <- err
		}()
	}
	for range 3 {
		<-begun
	}
	_, err := senderTo(all, "google").Send(t.Context(), Notification{})
	require.ErrorIs(t, err, errNotTried, "the fourth handler is given back")
	_, err = senderTo(all, "apple").Send(t.Context(), Notification{})
	require.NoError(t, err)
	close(until)
	for range 3 {
		require.NoError(t, <-answers)
	}
}
