package preferences

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/servertest"
)

// TestChangesOfOneUserFollowOneAnother, however many come at once: each is made of what the one before left.
func TestChangesOfOneUserFollowOneAnother(t *testing.T) {
	t.Parallel()
	s, user := store{servertest.OpenDatabase(t, migrations.Files)}, uuid.NewString()
	require.NoError(t, s.add(t.Context(), user, true, true))
	var mu sync.Mutex
	left := map[int64]kept{1: {Email: true, Push: true, IsActive: true}} // by version
	var found [][2]row
	var all sync.WaitGroup
	for n := range 12 {
		all.Go(func() {
			for turn := range 20 {
				on := turn%2 == 0
				wish := patch{Email: &on}
				if n%2 == 0 {
					wish = patch{Push: &on}
				}
				before, now, err := s.change(t.Context(), user, wish)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				found = append(found, [2]row{before, now})
				if before.Version != now.Version {
					left[now.Version] = now.kept
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.Greater(t, len(left), 20)
	for _, pair := range found {
		before, now := pair[0], pair[1]
		require.Equal(t, left[before.Version], before.kept)
		require.Equal(t, len(before.changes(now.kept)) > 0, now.Version == before.Version+1)
		require.LessOrEqual(t, now.Version-before.Version, int64(1))
	}
	last, err := s.byUser(t.Context(), user)
	require.NoError(t, err)
	require.EqualValues(t, len(left), last.Version, "every change has a number of its own")
	require.Equal(t, left[last.Version], last.kept)
}

func TestInactiveUserChangesNothing(t *testing.T) {
	t.Parallel()
	s, user, off := store{servertest.OpenDatabase(t, migrations.Files)}, uuid.NewString(), false
	require.NoError(t, s.add(t.Context(), user, true, true))
	_, err := s.setActive(t.Context(), user, false)
	require.NoError(t, err)
	before, now, err := s.change(t.Context(), user, patch{Email: &off})
	require.NoError(t, err)
	require.Equal(t, before, now)
	require.True(t, now.Email)
}
