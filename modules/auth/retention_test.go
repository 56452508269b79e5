package auth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/retention"
	"user-service/platform/servertest"
)

func TestRecordIsKeptForItsTimeAndThenRemovedInBatches(t *testing.T) {
	t.Parallel()
	db := servertest.OpenDatabase(t, migrations.Files)
	_, err := db.Exec(t.Context(), `
		INSERT INTO auth.audit_log (action, actor, at)
		SELECT n::text, 'operator', now() - interval '180 days' + (n - 7.5) * interval '1 hour' FROM generate_series(1, 10) n`)
	require.NoError(t, err)
	require.NoError(t, retention.Apply(t.Context(), db, 2, (&Module{}).retained()...))
	var kept []string
	require.NoError(t, db.Select(t.Context(), &kept, `SELECT action FROM auth.audit_log ORDER BY id`))
	require.Equal(t, []string{"8", "9", "10"}, kept)
}

func TestExpiredSessionsAreKeptAsLongAsTheyMayHaveAnAccessToken(t *testing.T) {
	t.Parallel()
	db := servertest.OpenDatabase(t, migrations.Files)
	_, err := db.Exec(t.Context(), `
		WITH account AS (INSERT INTO auth.accounts (id, email, password) VALUES (gen_random_uuid(), 'a@example.com', '') RETURNING id)
		INSERT INTO auth.sessions (id, account_id, user_agent, expires_at)
		SELECT gen_random_uuid(), id, n::text, now() - n * interval '10 hours' FROM account, generate_series(-1, 9) n`)
	require.NoError(t, err)
	require.NoError(t, retention.Apply(t.Context(), db, 2, (&Module{settings: Settings{AccessLifetime: 12 * time.Hour}}).retained()...))
	var kept []string
	require.NoError(t, db.Select(t.Context(), &kept, `SELECT user_agent FROM auth.sessions ORDER BY expires_at DESC`))
	require.Equal(t, []string{"-1", "0", "1", "2", "3"}, kept)
}
