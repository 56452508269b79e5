// Package postgres is the only door to the database. It keeps three promises: the transaction
// travels in the context, so that modules which know nothing of each other commit together; every
// statement is prepared once per connection; and a database that is away is a fault.Unavailable.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool  *sqlx.DB
	spare *DB
}

// spareConnections are one for each kind of read over them, so that none waits for another that hangs: revocations,
// service keys, the epoch of the cache, and two of readiness. Two do not often come at the same time, and only those
// are open that were needed.
const spareConnections = 5

// sessionSettings bound what one statement or a forgotten transaction can hold up, in milliseconds.
var sessionSettings = map[string]string{
	"statement_timeout":                   "15000",
	"idle_in_transaction_session_timeout": "30000",
	"lock_timeout":                        "10000",
	"application_name":                    "user-service",
	"connect_timeout":                     "5",
}

// ByIndex are settings for statements that look at the front of a table which is empty at one time and has a
// million rows at another: their one plan goes by the index. A plan that is made while the table is empty would
// read all of it, and to plan each time takes longer than to run.
var ByIndex = map[string]string{"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}

// Open makes a pool of at most conns connections, with further settings. It does not connect yet.
// Settings that stand in dsn (a postgres:// URL) win over the service's own.
func Open(dsn string, conns int, further ...map[string]string) (*DB, error) {
	u, err := url.Parse(dsn)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") { // err would quote the password
		return nil, errors.New("the database URL cannot be parsed: it looks like postgres://user:password@host:5432/name")
	}
	query := u.Query()
	for _, settings := range append(further, sessionSettings) {
		for name, value := range settings {
			if !query.Has(name) {
				query.Set(name, value)
			}
		}
	}
	if !query.Has("sslmode") {
		query.Set("sslmode", "prefer")
	}
	u.RawQuery = query.Encode()
	pqConnector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, fmt.Errorf("database settings: %w", err)
	}
	pqConnector.Dialer(new(dialer))
	return &DB{open(pqConnector, conns), &DB{pool: open(pqConnector, spareConnections)}}, nil
}

func open(to *pq.Connector, conns int) *sqlx.DB {
	pool := sqlx.NewDb(sql.OpenDB(connector{to}), "postgres")
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns) // a connection closed after each use costs more than the work
	return pool
}

// Spare is the same database over a few connections that no work takes. It is for what decides on every request, as
// who was signed out: where that had to wait until others are done, nobody at all would be answered. Within a
// transaction it is over that one's connection. It has no Spare.
func (db *DB) Spare() *DB { return db.spare }

// Close ends every connection.
func (db *DB) Close() error {
	if db.spare == nil {
		return db.pool.Close()
	}
	return errors.Join(db.spare.Close(), db.pool.Close())
}

// Ping asks the server for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return classify(ctx, db.pool.PingContext(ctx)) }

// Pool is the plain database/sql pool, for migrations and metrics.
func (db *DB) Pool() *sql.DB { return db.pool.DB }

// Get reads one row into dest; ErrNoRows when there is none.
func (db *DB) Get(ctx context.Context, dest any, query string, args ...any) error {
	return classify(ctx, sqlx.GetContext(ctx, db.handle(ctx), dest, query, args...))
}

// Select reads all rows into dest, a pointer to a slice.
func (db *DB) Select(ctx context.Context, dest any, query string, args ...any) error {
	return classify(ctx, sqlx.SelectContext(ctx, db.handle(ctx), dest, query, args...))
}

// Exec runs a statement and says how many rows it touched.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := db.handle(ctx).ExecContext(ctx, query, args...)
	if err != nil {
		return 0, classify(ctx, err)
	}
	rows, err := result.RowsAffected()
	return rows, classify(ctx, err)
}

// Few is a condition on a column of that name of a json_to_recordset whose JSON has no such member. It is always
// true, but the planner thinks it rare: it expects a row instead of a hundred, and finds each row of a table by
// its index. For a hundred it would rather read all of a table of up to 40,000 rows.
const Few = `few IS NULL`

// Array makes values an argument for a parameter of an array type.
func Array[T any](values []T) any { return pq.Array(values) }

// ErrNoRows is the answer of Get when nothing matched.
var ErrNoRows = sql.ErrNoRows

func (db *DB) handle(ctx context.Context) sqlx.ExtContext {
	if t := current(ctx); t != nil {
		return t.tx
	}
	return db.pool
}
