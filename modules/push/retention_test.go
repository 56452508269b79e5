package push

import (
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/retention"
	"user-service/platform/servertest"
)

func TestOutcomesAreKeptForThirtyDaysAndWhatHasNoneUntilItHas(t *testing.T) {
	t.Parallel()
	db := servertest.OpenDatabase(t, migrations.Files)
	_, err := db.Exec(t.Context(), `
		INSERT INTO push.deliveries (request_id, user_id, template_code, status, created_at)
		SELECT status || n, '', '', status, now() - interval '30 days' + (n - 3.5) * interval '1 hour'
		FROM generate_series(1, 5) n, unnest(ARRAY['sent', 'failed', 'skipped', 'retrying', 'sending']) status`)
	require.NoError(t, err)
	require.NoError(t, retention.Apply(t.Context(), db, 2, retained))
	var kept []string
	require.NoError(t, db.Select(t.Context(), &kept, `SELECT request_id FROM push.deliveries ORDER BY request_id`))
	require.Equal(t, []string{
		"failed4", "failed5", "retrying1", "retrying2", "retrying3", "retrying4", "retrying5",
		"sending1", "sending2", "sending3", "sending4", "sending5", "sent4", "sent5", "skipped4", "skipped5",
	}, kept)
}
