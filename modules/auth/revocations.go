package auth

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"user-service/platform/postgres"
)

const (
	revocationsEvery   = 300 * time.Millisecond // how often other instances' are looked for
	revocationsTrusted = time.Second            // how old that look may be when a token is judged
	lookTimeout        = 2 * time.Second        // a database that does not answer by then is away
	sweepEvery         = time.Minute
)

// revocations are the sessions that ended before their access tokens expire. Every instance keeps
// all of them in memory, so that judging a token asks no server. They are named one by one: to
// compare a token's age with the time of a revocation would compare two clocks. Only for the tokens
// of the original service, which name no session, there is no other way.
type revocations struct {
	db    *postgres.DB
	clock *databaseClock // read along with them

	mu       sync.RWMutex
	sessions map[string]time.Time  // id → when its tokens have expired anyway
	accounts map[string]revocation // id → of its tokens without a session, the latest
	known    time.Time             // everything that committed before is in here

	looking chan struct{} // held by the one who looks; guards what follows
	horizon string        // the oldest transaction that was still open at the last look
	failed  time.Time     // when a look last failed, and why
	failure error
}

func newRevocations(db *postgres.DB, clock *databaseClock) *revocations {
	return &revocations{db: db, clock: clock, sessions: map[string]time.Time{}, accounts: map[string]revocation{}, looking: make(chan struct{}, 1), horizon: "0"}
}

// revocation is of a session, or of all tokens of an account that name no session.
type revocation struct {
	SessionID *string   `db:"session_id"`
	AccountID *string   `db:"account_id"`
	RevokedAt time.Time `db:"revoked_at"`
	ExpiresAt time.Time `db:"expires_at"`
}

// add revokes sessions in the transaction of ctx; this instance knows it when that has committed.
func (r *revocations) add(ctx context.Context, sessionIDs []string, lifetime time.Duration) error {
	if len(sessionIDs) == 0 {
		return nil
	}
	var rows []revocation
	err := r.db.Select(ctx, &rows, `
		INSERT INTO auth.revocations (session_id, expires_at)
		SELECT unnest($1::uuid[]), clock_timestamp() + make_interval(secs => $2)
		RETURNING session_id, revoked_at, expires_at`, postgres.Array(sessionIDs), (lifetime + 2*clockLeeway).Seconds())
	if err != nil {
		return err
	}
	return postgres.AfterCommit(ctx, func(context.Context) { r.learn(rows, time.Time{}) })
}

// addAccounts revokes what was issued for accounts and names no session: the original service's
// access and refresh tokens. Like add, it belongs to a transaction.
func (r *revocations) addAccounts(ctx context.Context, accountIDs []string, lifetime time.Duration) error {
	if len(accountIDs) == 0 {
		return nil
	}
	var rows []revocation
	err := r.db.Select(ctx, &rows, `
		WITH account AS (UPDATE auth.accounts SET sessions_ended_at = clock_timestamp() WHERE id = ANY ($1::uuid[]) RETURNING id)
		INSERT INTO auth.revocations (account_id, expires_at)
		SELECT id, clock_timestamp() + make_interval(secs => $2) FROM account
		RETURNING account_id, revoked_at, expires_at`, postgres.Array(accountIDs), (lifetime + 2*clockLeeway).Seconds())
	if err != nil {
		return err
	}
	return postgres.AfterCommit(ctx, func(context.Context) { r.learn(rows, time.Time{}) })
}

// include judges a token. Its fault is `unavailable` when the database cannot say what was revoked.
func (r *revocations) include(ctx context.Context, c claims) (bool, error) {
	if !r.knownWithin(revocationsTrusted) {
		if err := r.look(ctx, revocationsTrusted); err != nil {
			return false, err
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c.SessionID == "" {
		account, revoked := r.accounts[c.UserID]
		return revoked && issuedBefore(c.IssuedAt.Time, account.RevokedAt), nil
	}
	_, revoked := r.sessions[c.SessionID]
	return revoked, nil
}

// issuedBefore compares the clock of the service that issued a token with the database's. In doubt
// the token is older: it costs its holder one more sign-in, and the opposite would keep a thief in.
func issuedBefore(issued, revoked time.Time) bool { return !issued.After(revoked.Add(clockLeeway)) }

func (r *revocations) knownWithin(age time.Duration) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return time.Since(r.known) < age
}

// look reads what committed since the last look, unless that was less than age ago. One looks for
// all who wait, and what it finds out is an answer to all, also when it is a failure.
func (r *revocations) look(ctx context.Context, age time.Duration) error {
	asked := time.Now()
	select {
	case r.looking <- struct{}{}:
		defer func() { <-r.looking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.knownWithin(age) {
		return nil
	}
	if r.failed.After(asked) {
		return r.failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout) // not only for this caller
	defer cancel()
	if r.failure = r.read(ctx); r.failure != nil {
		r.failed = time.Now()
	}
	return r.failure
}

func (r *revocations) read(ctx context.Context) error {
	asked := time.Now()
	var now struct {
		Horizon string    `db:"horizon"`
		Shown   time.Time `db:"shown"`
	}
	if err := r.db.Spare().Get(ctx, &now, `SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon, clock_timestamp() AS shown`); err != nil {
		return err
	}
	r.clock.set(now.Shown, asked)
	var rows []revocation
	err := r.db.Spare().Select(ctx, &rows, `
		SELECT session_id, account_id, revoked_at, expires_at FROM auth.revocations WHERE xid >= $1::xid8 AND expires_at > now()`, r.horizon)
	if err != nil {
		return err
	}
	r.horizon = now.Horizon
	r.learn(rows, asked)
	return nil
}

func (r *revocations) learn(rows []revocation, known time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		switch {
		case row.SessionID != nil:
			r.sessions[*row.SessionID] = row.ExpiresAt
		case row.AccountID != nil && row.RevokedAt.After(r.accounts[*row.AccountID].RevokedAt):
			r.accounts[*row.AccountID] = row
		}
	}
	if known.After(r.known) {
		r.known = known
	}
}

func (r *revocations) run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(revocationsEvery)
	defer tick.Stop()
	swept := time.Now()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := r.look(ctx, revocationsEvery/2)
		if err == nil && time.Since(swept) > sweepEvery {
			swept = time.Now()
			err = r.sweep(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("revocations not read, trying again", "error", err)
		}
		failing = err != nil
	}
}

// sweep forgets what has expired, here and in the database.
func (r *revocations) sweep(ctx context.Context) error {
	past := r.clock.now().Add(-clockLeeway)
	r.mu.Lock()
	maps.DeleteFunc(r.sessions, func(_ string, expires time.Time) bool { return expires.Before(past) })
	maps.DeleteFunc(r.accounts, func(_ string, account revocation) bool { return account.ExpiresAt.Before(past) })
	r.mu.Unlock()
	_, err := r.db.Exec(ctx, `
		DELETE FROM auth.revocations WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM auth.revocations WHERE expires_at < now() - interval '5 minutes' LIMIT $1))`, sweepBatch)
	return err
}

const sweepBatch = 10_000
