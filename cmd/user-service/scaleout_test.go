package main

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/platform/servertest"
)

// TestAnyNumberOfInstancesGivesTheSameAnswersAndSharesTheWork has one, two and four of them on the same
// servers.
func TestAnyNumberOfInstancesGivesTheSameAnswersAndSharesTheWork(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			instances := make([]*instance, n)
			for i := range instances {
				instances[i] = s.start(t)
			}
			b := s.broker(t)
			listening := b.listen()
			users := make([]tokens, 6)
			for u := range users {
				users[u] = instances[u%n].register()
			}
			agree(t, instances, users)
			for _, k := range users {
				inOrder(t, listening, k.id())
			}
			s.share(t, b, instances, users)
		})
	}
}

const changesOfEach = 12

// agree has users write on one instance after the other, and read on all of them what they wrote.
func agree(t *testing.T, instances []*instance, users []tokens) {
	t.Helper()
	var all errgroup.Group
	for u, k := range users {
		all.Go(func() error {
			for turn := range changesOfEach {
				allowed, name := turn%2 == 1, fmt.Sprintf("Name %d", turn)
				at := instances[(u+turn)%len(instances)]
				at.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": allowed})
				at.call("PATCH", "/api/v1/users/profile/", k.AccessToken, map[string]any{"name": name})
				for _, i := range instances {
					var preferences, profile map[string]any
					i.call("GET", "/api/v1/users/preferences/", k.AccessToken, nil).into(t, &preferences)
					i.call("GET", "/api/v1/users/profile/", k.AccessToken, nil).into(t, &profile)
					if preferences["email"] != allowed || profile["name"] != name {
						return fmt.Errorf("turn %d: %v and %v", turn, preferences, profile)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
}

// inOrder waits for the events of a user's changes: each once, whichever instance made it or carried it.
func inOrder(t *testing.T, listening *events, user string) {
	t.Helper()
	var told []event
	servertest.Eventually(t, func() bool {
		told = listening.of(user, "user.preferences_changed")
		return len(told) >= changesOfEach
	}, "%d changes are told", changesOfEach)
	require.Len(t, told, changesOfEach)
	for turn, e := range told {
		require.Equal(t, fmt.Sprintf("%010d", turn+1), e.Sequence)
		require.Equal(t, turn%2 == 1, e.Data["email"])
	}
}

// share has as many messages as all instances together may have in the works, and no provider that
// answers, so that each must take some.
func (s *stack) share(t *testing.T, b *broker, instances []*instance, users []tokens) {
	t.Helper()
	taken, release := s.provider.holds()
	messages := len(instances) * s.config.PushConcurrency
	for m := range messages {
		b.push(pushBody(users[m%len(users)].id(), uuid.NewString()))
	}
	servertest.Eventually(t, func() bool { return len(taken) == messages }, "%d messages are at the provider", messages)
	close(release)
	for _, i := range instances {
		servertest.Eventually(t, func() bool {
			sent, _ := i.scrape().sum("push_outcomes_total", `status="sent"`)
			return sent == float64(s.config.PushConcurrency)
		}, "each instance has sent %d", s.config.PushConcurrency)
	}
}
