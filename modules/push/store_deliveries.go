package push

import "context"

const shown = `request_id, user_id, template_code, status, reason, provider, provider_message_id, attempts, correlation_id, created_at, updated_at`

// sought are the deliveries that a query looks for; what is null is not asked for. That a reason goes
// with failed and skipped, the index of those needs to be told.
const sought = `push.deliveries
	WHERE ($1::text IS NULL OR status = $1) AND ($1 IS NULL OR $1 NOT IN ('failed', 'skipped') OR reason <> '')
	  AND ($2::text IS NULL OR user_id = $2) AND ($3::text IS NULL OR template_code = $3)`

// list gives a page of the deliveries that q looks for, the latest first, and how many there are:
// counted up to one more than reach.
func (s store) list(ctx context.Context, q deliveryQuery) (page []delivery, total int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// Planned for these values and no others, for the sake of what is null.
		if _, err := s.db.Exec(ctx, `SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true)`); err != nil {
			return err
		}
		args := []any{q.Status, q.UserID, q.TemplateCode}
		if err := s.db.Get(ctx, &total, `SELECT count(*) FROM (SELECT FROM `+sought+` LIMIT $4) AS counted`, append(args, reach+1)...); err != nil {
			return err
		}
		return s.db.Select(ctx, &page, `SELECT `+shown+` FROM `+sought+` ORDER BY created_at DESC, request_id LIMIT $4 OFFSET $5`,
			append(args, q.Page.Limit, q.Page.Offset())...)
	})
	for i := range page {
		page[i] = page[i].inUTC()
	}
	return page, total, err
}

func (s store) delivery(ctx context.Context, requestID string) (d delivery, err error) {
	err = s.db.Get(ctx, &d, `SELECT `+shown+` FROM push.deliveries WHERE request_id = $1`, requestID)
	return d.inUTC(), err
}

func (d delivery) inUTC() delivery {
	d.CreatedAt, d.UpdatedAt = d.CreatedAt.UTC(), d.UpdatedAt.UTC()
	return d
}
