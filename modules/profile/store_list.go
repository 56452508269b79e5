package profile

import (
	"context"
	"encoding/json"
	"fmt"

	"user-service/platform/fault"
)

const (
	// clearlyMany is the estimate from which on nobody counts: were it ten times too high, the count
	// would still end at reach.
	clearlyMany = 10 * reach

	// sortable is how many users are fetched to be sorted. Of more an index in the wanted order has
	// some everywhere.
	sortable = 3 * reach

	// walk is how many users an index leads past at the most, in search of those with a word: the words
	// are made anew from each name.
	walk = reach
)

// What is null is not asked for. The words come last: they are dear.
const (
	flagged = `($1::boolean IS NULL OR is_active = $1) AND ($2::boolean IS NULL OR email_verified = $2)`
	named   = `($3::text IS NULL OR (` + byEmail + ` >= $3 AND ` + byEmail + ` < $4) OR profile.beginnings(name) @@ $5::tsquery)`
)

var errTooCommon = fault.Fields{"search": {"Finds too many users to show this part of them. Search for more, or order otherwise."}}.Err()

// list gives a page of the users that q looks for, and how many there are: counted as far as that is
// quick, and estimated beyond.
func (s store) list(ctx context.Context, q listQuery) (page []user, total int, estimated bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// Planned for these values and no others: few and many are found in different ways. And by one process:
		// to start others takes longer than what they would save.
		if _, err := s.db.Exec(ctx, `SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
			set_config('max_parallel_workers_per_gather', '0', true)`); err != nil {
			return err
		}
		args, err := s.found(ctx, q)
		if err != nil {
			return err
		}
		estimate, err := s.estimate(ctx, args)
		if err != nil {
			return err
		}
		if estimate <= reach {
			if page, total, err = s.fewOf(ctx, q, args, reach); err != nil || total <= reach {
				return err
			}
			total, estimated = max(estimate, total), true
		} else if total, estimated, err = s.howMany(ctx, args, estimate); err != nil {
			return err
		}
		if total <= sortable { // as far as it is known
			var n int
			if page, n, err = s.fewOf(ctx, q, args, sortable); err != nil || n <= sortable {
				return err
			}
		}
		page, err = s.manyOf(ctx, q, args)
		return err
	})
	return page, total, estimated, err
}

// fewOf sorts and counts those that are found, so that the words are looked for once, and reads whole rows of
// the page alone. Of more than most it takes one more than that, whichever.
func (s store) fewOf(ctx context.Context, q listQuery, args []any, most int) (page []user, total int, err error) {
	by, direction := q.order()
	order := fmt.Sprintf(` ORDER BY key %[1]s, id %[1]s`, direction) // the id, so that no user is on two pages
	few := fmt.Sprintf(`WITH few AS MATERIALIZED (SELECT id, %s AS key FROM profile.users WHERE %s AND %s LIMIT %d)`, by, flagged, named, most+1)
	var rows []struct {
		user
		Total int `db:"total"`
	}
	if err := s.db.Select(ctx, &rows, few+` SELECT `+columns+`, (SELECT count(*) FROM few) AS total
		FROM (SELECT * FROM few`+order+` LIMIT $6 OFFSET $7) AS page JOIN profile.users USING (id)`+order,
		append(args, q.Page.Limit, q.Page.Offset())...); err != nil {
		return nil, 0, err
	}
	for _, r := range rows {
		page, total = append(page, r.user), r.Total
	}
	if len(rows) == 0 && q.Page.Offset() > 0 { // a page behind the last one
		err = s.db.Get(ctx, &total, few+` SELECT count(*) FROM few`, args...)
	}
	return page, total, err
}

// manyOf goes along an index in the wanted order, that has some of very many everywhere.
func (s store) manyOf(ctx context.Context, q listQuery, args []any) (page []user, err error) {
	by, direction := q.order()
	order := fmt.Sprintf(` ORDER BY %s %[2]s, id %[2]s`, by, direction)
	from := `profile.users WHERE ` + flagged + ` AND ` + named
	if q.Search != "" {
		from = fmt.Sprintf(`(SELECT * FROM profile.users WHERE %s %s LIMIT %d) AS next WHERE %s`, flagged, order, walk, named)
	}
	err = s.db.Select(ctx, &page, `SELECT `+columns+` FROM `+from+order+` LIMIT $6 OFFSET $7`,
		append(args, q.Page.Limit, q.Page.Offset())...)
	if err == nil && q.Search != "" && len(page) < q.Page.Limit {
		err = errTooCommon
	}
	return page, err
}

// found are the arguments of flagged and named. The words are a statement of their own: the planner judges only
// what it knows, and the database alone knows what it makes of a word.
func (s store) found(ctx context.Context, q listQuery) ([]any, error) {
	if q.Search == "" {
		return []any{q.Active, q.Verified, nil, nil, nil}, nil
	}
	var search struct{ First, Beyond, Words string } // of the addresses; of the name
	err := s.db.Get(ctx, &search, `
		SELECT lower($1) AS first, lower($1) || chr(127) AS beyond, coalesce(string_agg(quote_literal(word), ' & '), '') AS words
		FROM unnest(tsvector_to_array(profile.words($1))) AS word`, q.Search)
	return []any{q.Active, q.Verified, search.First, search.Beyond, search.Words}, err
}

// estimate is how many the planner thinks there are.
func (s store) estimate(ctx context.Context, args []any) (int, error) {
	var plan []byte
	if err := s.db.Get(ctx, &plan, `EXPLAIN (FORMAT JSON) SELECT FROM profile.users WHERE `+flagged+` AND `+named, args...); err != nil {
		return 0, err
	}
	var plans []struct {
		Plan struct {
			Rows int `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(plan, &plans); err != nil || len(plans) != 1 {
		return 0, fmt.Errorf("read the plan of a list: %w", err)
	}
	return plans[0].Plan.Rows, nil
}

// howMany counts as far as reach, and believes the estimate beyond.
func (s store) howMany(ctx context.Context, args []any, estimate int) (total int, estimated bool, err error) {
	if estimate >= clearlyMany {
		return estimate, true, nil
	}
	const counted = `SELECT count(*) FROM (SELECT FROM profile.users WHERE ` + flagged + ` AND ` + named + ` LIMIT $6) AS counted`
	if err := s.db.Get(ctx, &total, counted, append(args, reach+1)...); err != nil || total <= reach {
		return total, false, err
	}
	return max(estimate, total), true, nil
}
