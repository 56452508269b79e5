package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	domain "user-service/messaging/events"
)

// TestChangesOfPreferencesReadNoWholeTable of who follows them, among so many users that to look each up by
// its index is less work, and so few that the planner has to expect few to see it.
func TestChangesOfPreferencesReadNoWholeTable(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, db := s.start(t), s.open(t)
	_, err := db.Exec(t.Context(), `
		WITH made AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 3000)),
		profiles AS (INSERT INTO profile.users (id, name, email, created_at, updated_at) SELECT id, 'Ada', id, now(), now() FROM made)
		INSERT INTO push.recipients (user_id, push_allowed) SELECT id, true FROM made`)
	require.NoError(t, err)
	for _, table := range []string{"profile.users", "push.recipients"} {
		_, err = db.Exec(t.Context(), `ANALYZE `+table)
		require.NoError(t, err)
	}
	var users []string
	require.NoError(t, db.Select(t.Context(), &users, `SELECT id FROM profile.users LIMIT 2`))
	require.NoError(t, i.app.db.InTx(t.Context(), func(ctx context.Context) error {
		read := func() (n int) {
			require.NoError(t, i.app.db.Get(ctx, &n, `SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE relname IN ('users', 'recipients')`))
			return n
		}
		before := read()
		for n := range 10 { // the planner settles on a plan after some
			require.NoError(t, i.app.bus.Together(ctx, func(ctx context.Context) error {
				for _, user := range users {
					require.NoError(t, i.app.bus.Publish(ctx, domain.PreferencesChanged{UserID: user, Push: n%2 == 1, Changed: []string{"push"}}))
				}
				return nil
			}))
		}
		require.Equal(t, before, read())
		return nil
	}))
}
