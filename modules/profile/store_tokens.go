package profile

import (
	"context"
	"time"

	"user-service/platform/postgres"
)

// holdToken has no other transaction give token to anybody until this one ends, and says so. It does
// nothing where the user is the only one who has it, as when an app registers at each of its starts.
// It comes before every lock of a row that others may want, and in a statement of its own: the next one
// sees what those who held the token before have committed.
func (s store) holdToken(ctx context.Context, id, token string) (held bool, err error) {
	n, err := s.db.Exec(ctx, `
		SELECT pg_advisory_xact_lock(hashtextextended($2, 0))
		WHERE (SELECT array_agg(id) FROM profile.users WHERE push_token = $2) IS DISTINCT FROM ARRAY[$1::uuid]`, id, token)
	return n > 0, err
}

// lockWithHolders locks a user together with all others who have token. It does so in the order of
// their ids: two users who take each other's tokens would wait for one another. ErrNoRows when there
// is no such user.
func (s store) lockWithHolders(ctx context.Context, id, token string) (u user, others []user, err error) {
	var locked []user
	if err := s.db.Select(ctx, &locked, `
		SELECT `+columns+` FROM profile.users WHERE id = $1 OR push_token = $2 ORDER BY id FOR UPDATE`, id, token); err != nil {
		return u, nil, err
	}
	err = postgres.ErrNoRows
	for _, one := range locked {
		if one.ID == id {
			u, err = one, nil
		} else {
			others = append(others, one)
		}
	}
	return u, others, err
}

// registerAgain notes that the user has registered once more the token that is there; ErrNoRows when it
// is another one by now. Nobody sees the time, so the version stays.
func (s store) registerAgain(ctx context.Context, id, token string) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `
		UPDATE profile.users SET push_token_at = now() WHERE id = $1 AND push_token = $2 RETURNING `+columns, id, token)
	return u, err
}

// dropPushToken removes token; ErrNoRows when the user has another one by now, or has registered it
// after before.
func (s store) dropPushToken(ctx context.Context, id, token string, before *time.Time) (user, error) {
	var u user
	err := s.db.Get(ctx, &u, `
		UPDATE profile.users SET push_token = NULL, push_token_at = NULL, version = version + 1, updated_at = now()
		WHERE id = $1 AND push_token = $2 AND ($3::timestamptz IS NULL OR push_token_at IS NULL OR push_token_at <= $3)
		RETURNING `+columns, id, token, before)
	return u, err
}

func (s store) hasNoPushToken(ctx context.Context, id string) (none bool, err error) {
	err = s.db.Get(ctx, &none, `SELECT NOT EXISTS (SELECT FROM profile.users WHERE id = $1 AND push_token IS NOT NULL)`, id)
	return none, err
}
