package auth

import (
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

func TestRecordIsKeptForItsTimeAndThenRemovedInBatches(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(servertest.Database(t, migrations.Files), 2)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Exec(t.Context(), `
		INSERT INTO auth.audit_log (action, actor, at)
		SELECT n::text, 'operator', now() - interval '180 days' + (n - 7.5) * interval '1 hour' FROM generate_series(1, 10) n`)
	require.NoError(t, err)
	require.NoError(t, (&Module{db: db}).retain(t.Context(), 2))
	var kept []string
	require.NoError(t, db.Select(t.Context(), &kept, `SELECT action FROM auth.audit_log ORDER BY id`))
	require.Equal(t, []string{"8", "9", "10"}, kept)
}
