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
	named   = `($3::text IS NULL OR (` + byEmail + ` >= $3 AND ` + byEmail + ` < $4) OR profile.words(name) @@ $5::tsquery)`
)

var errTooCommon = fault.Fields{"search": {"Finds too many users to show this part of them. Search for more, or order otherwise."}}.Err()

// list gives a page of the users that q looks for, and how many there are: counted up to reach, and
// estimated beyond.
func (s store) list(ctx context.Context, q listQuery) (page []user, total int, estimated bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// Planned for these values and no others: few and many are found in different ways.
		if _, err := s.db.Exec(ctx, `SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true)`); err != nil {
			return err
		}
		args, err := s.found(ctx, q)
		if err != nil {
			return err
		}
		if total, estimated, err = s.howMany(ctx, args); err != nil {
			return err
		}
		order := ` ORDER BY ` + q.orderBy()
		from := `profile.users WHERE ` + flagged + ` AND ` + named
		switch { // a subquery with OFFSET or LIMIT is done as it is written
		case total <= sortable:
			from = `(SELECT * FROM ` + from + ` OFFSET 0) AS few`
		case q.Search != "":
			from = fmt.Sprintf(`(SELECT * FROM profile.users WHERE %s %s LIMIT %d) AS next WHERE %s`, flagged, order, walk, named)
		}
		err = s.db.Select(ctx, &page, `SELECT `+columns+` FROM `+from+order+` LIMIT $6 OFFSET $7`,
			append(args, q.Page.Limit, q.Page.Offset())...)
		if err == nil && total > sortable && q.Search != "" && len(page) < q.Page.Limit {
			return errTooCommon
		}
		return err
	})
	return page, total, estimated, err
}

// found are the arguments of sought. The words are a statement of their own: the planner judges only
// what it knows, and the database alone knows what it makes of a word.
func (s store) found(ctx context.Context, q listQuery) ([]any, error) {
	if q.Search == "" {
		return []any{q.Active, q.Verified, nil, nil, nil}, nil
	}
	var search struct{ First, Beyond, Words string } // of the addresses; of the name
	err := s.db.Get(ctx, &search, `
		SELECT lower($1) AS first, lower($1) || chr(127) AS beyond, coalesce(string_agg(quote_literal(word) || ':*', ' & '), '') AS words
		FROM unnest(tsvector_to_array(profile.words($1))) AS word`, q.Search)
	return []any{q.Active, q.Verified, search.First, search.Beyond, search.Words}, err
}

// howMany counts as far as reach, and asks the planner beyond.
func (s store) howMany(ctx context.Context, args []any) (total int, estimated bool, err error) {
	var plan []byte
	if err := s.db.Get(ctx, &plan, `EXPLAIN (FORMAT JSON) SELECT FROM profile.users WHERE `+flagged+` AND `+named, args...); err != nil {
		return 0, false, err
	}
	var plans []struct {
		Plan struct {
			Rows int `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(plan, &plans); err != nil || len(plans) != 1 {
		return 0, false, fmt.Errorf("read the plan of a list: %w", err)
	}
	estimate := plans[0].Plan.Rows
	if estimate >= clearlyMany {
		return estimate, true, nil
	}
	const counted = `SELECT count(*) FROM (SELECT FROM profile.users WHERE ` + flagged + ` AND ` + named + ` LIMIT $6) AS counted`
	if err := s.db.Get(ctx, &total, counted, append(args, reach+1)...); err != nil || total <= reach {
		return total, false, err
	}
	return max(estimate, total), true, nil
}
