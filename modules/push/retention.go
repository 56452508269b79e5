package push

import (
	"context"
	"time"

	"user-service/platform/retention"
)

const (
	deliveriesKept = 30 * 24 * time.Hour // how long a request_id has its one outcome
	retainEvery    = time.Hour
)

var retained = retention.Rule{What: "deliveries", Args: []any{deliveriesKept.Seconds()}, Statement: `
	DELETE FROM push.deliveries WHERE request_id = ANY (ARRAY(
		SELECT request_id FROM push.deliveries
		WHERE created_at < now() - make_interval(secs => $2) AND status NOT IN ('sending', 'retrying')
		ORDER BY created_at LIMIT $1))`}

// Run removes deliveries that have been kept long enough, until ctx ends.
func (m *Module) Run(ctx context.Context) error {
	return retention.Run(ctx, m.db, m.log, retainEvery, retained)
}
