package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
)

type seedCommand struct {
	Users int `default:"100000" help:"How many (${default})."`
}

// Validate implements kong's interface.
func (c seedCommand) Validate() error {
	if c.Users < 1 {
		return errors.New("--users: at least 1")
	}
	return nil
}

// Run makes users in the database of DATABASE_URL, for trials by hand.
func (c seedCommand) Run(ctx context.Context) (err error) {
	defer catch(&err)
	address := os.Getenv("DATABASE_URL")
	if address == "" {
		return errors.New("DATABASE_URL is not set: `bin/localstack run -- bench seed` starts a database")
	}
	db := must(sql.Open("postgres", address))
	defer func() { _ = db.Close() }()
	tag := seed(ctx, db, c.Users)
	fmt.Printf("made %d users, user-%s-1@example.com and so on; the password of all: %s\n", c.Users, tag, password)
	return nil
}

// seedStatement makes the users of some numbers as registration would, in every module at once. No
// event tells of them, as of imported ones.
const seedStatement = `
	WITH made AS MATERIALIZED (
		SELECT gen_random_uuid() AS id, 'user-' || $3 || '-' || n || '@example.com' AS email,
			(ARRAY['Ada', 'Alan', 'Barbara', 'Donald', 'Edsger', 'Frances', 'Grace', 'John', 'Katherine', 'Ken', 'Leslie', 'Niklaus'])[1 + n % 12] || ' ' ||
			(ARRAY['Lovelace', 'Turing', 'Liskov', 'Knuth', 'Dijkstra', 'Allen', 'Hopper', 'Backus', 'Johnson', 'Thompson', 'Lamport'])[1 + n % 11] || ' ' ||
			substr(md5(n::text), 1, 4) AS name,
			'device-' || $3 || '-' || n AS push_token, now() - n * interval '1 second' AS at
		FROM generate_series($1::integer, $2::integer) AS n),
	accounts AS (
		INSERT INTO auth.accounts (id, email, password, created_at, updated_at) SELECT id, email, $4, at, at FROM made),
	preferences AS (
		INSERT INTO preferences.preferences (user_id, email, push, updated_at) SELECT id, true AS email, true AS push, at FROM made),
	recipients AS (
		INSERT INTO push.recipients (user_id, push_token, push_allowed) SELECT id, push_token, true FROM made)
	INSERT INTO profile.users (id, name, push_token, push_token_at, email, created_at, updated_at)
	SELECT id, name, push_token, at, email, at, at FROM made`

// seed makes n users, and gives what tells their addresses from those of other runs.
func seed(ctx context.Context, db *sql.DB, n int) (tag string) {
	const batch = 10_000
	tag = uuid.NewString()[:8]
	hash := must(argon2id.CreateHash(password, &argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}))
	shown := showProgress(n, "making users")
	for done := 0; done < n; {
		next := min(done+batch, n)
		must(db.ExecContext(ctx, seedStatement, done+1, next, tag, hash))
		done = next
		shown(done)
	}
	// As autovacuum and the checkpointer would have, had they come by and by.
	must(db.ExecContext(ctx, "VACUUM ANALYZE auth.accounts, profile.users, preferences.preferences, push.recipients"))
	must(db.ExecContext(ctx, "CHECKPOINT"))
	return tag
}
