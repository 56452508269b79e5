package postgres

import (
	"context"
	"database/sql"
	"errors"
	"net/url"

	"github.com/jmoiron/sqlx"
)

// Snapshot is a database of somebody else: read only, and the same from the first read to the last.
type Snapshot struct {
	db *DB
	tx *sqlx.Tx
}

// snapshotSettings let a read take its time, and its reader between two reads.
var snapshotSettings = map[string]string{
	"statement_timeout":                   "0",
	"idle_in_transaction_session_timeout": "0",
	"timezone":                            "UTC", // of times that were stored without
	"application_name":                    "user-service import",
}

// OpenSnapshot connects to the database of dsn, a postgres:// URL. It lives until ctx ends or it is closed.
func OpenSnapshot(ctx context.Context, dsn string) (*Snapshot, error) {
	u, err := url.Parse(dsn)
	if err != nil { // it would quote the password
		return nil, errors.New("the database URL cannot be parsed")
	}
	query := u.Query()
	for name, value := range snapshotSettings {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	db, err := Open(u.String(), 1)
	if err != nil {
		return nil, err
	}
	tx, err := db.pool.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		_ = db.Close()
		return nil, classify(ctx, err)
	}
	return &Snapshot{db, tx}, nil
}

// Get reads one row into dest; ErrNoRows when there is none.
func (s *Snapshot) Get(ctx context.Context, dest any, query string, args ...any) error {
	return classify(ctx, s.tx.GetContext(patiently(ctx), dest, query, args...))
}

// Select reads all rows into dest, a pointer to a slice.
func (s *Snapshot) Select(ctx context.Context, dest any, query string, args ...any) error {
	return classify(ctx, s.tx.SelectContext(patiently(ctx), dest, query, args...))
}

// Exec runs a statement that changes nothing, such as one that declares a cursor.
func (s *Snapshot) Exec(ctx context.Context, query string) error {
	_, err := s.tx.ExecContext(patiently(ctx), query)
	return classify(ctx, err)
}

// Close ends the connection.
func (s *Snapshot) Close() error {
	_ = s.tx.Rollback() // it may have ended with its context
	return s.db.Close()
}

func patiently(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}
