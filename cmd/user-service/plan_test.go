package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// TestChangeOfPreferencesReadsNoWholeTable among so many users that to look each up by its index is less work,
// and so few that the planner has to expect few to see it.
func TestChangeOfPreferencesReadsNoWholeTable(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, db := s.start(t), s.open(t)
	_, err := db.Exec(t.Context(), `
		WITH made AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 3000)),
		profiles AS (INSERT INTO profile.users (id, name, email, created_at, updated_at) SELECT id, 'Ada', id, now(), now() FROM made),
		preferences AS (INSERT INTO preferences.preferences (user_id, email, push) SELECT id, true, true FROM made)
		INSERT INTO push.recipients (user_id, push_allowed) SELECT id, true FROM made`)
	require.NoError(t, err)
	for _, table := range []string{"profile.users", "preferences.preferences", "push.recipients"} {
		_, err = db.Exec(t.Context(), `ANALYZE `+table)
		require.NoError(t, err)
	}
	user := i.register() // only now: with few users to read all of them is right
	const tables = ` FROM pg_stat_user_tables WHERE (schemaname, relname) IN (('profile', 'users'), ('preferences', 'preferences'), ('push', 'recipients'))`
	read := count(t, db, `SELECT sum(seq_scan)`+tables)
	updated := count(t, db, `SELECT min(n_tup_upd)`+tables)
	const changes = 10 // the planner settles on a plan after some
	for n := range changes {
		r := i.call("PATCH", "/api/v1/users/preferences/", user.AccessToken, map[string]any{"push": n%2 == 1})
		require.Equal(t, http.StatusOK, r.Status)
	}
	servertest.Eventually(t, func() bool { return count(t, db, `SELECT min(n_tup_upd)`+tables) >= updated+changes }, "the changes are counted")
	require.Equal(t, read, count(t, db, `SELECT sum(seq_scan)`+tables))
}
