package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrator moves a database between the steps in files. Several may run at once: one works, under
// a lock of the server, and the others wait for it.
type Migrator struct{ provider *goose.Provider }

// NewMigrator reads the steps.
func (db *DB) NewMigrator(files fs.FS) (*Migrator, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // asks each second, for 10 minutes
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db.Pool(), files, goose.WithSessionLocker(patient{locker}))
	if err != nil {
		return nil, err
	}
	return &Migrator{provider}, nil
}

// patient lets the steps, which run on the connection that holds the lock, take their time: an index
// on a large table takes longer than any statement of a request may.
type patient struct{ lock.SessionLocker }

func (p patient) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := p.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "SET statement_timeout = 0")
	return err
}

func (p patient) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "RESET statement_timeout")
	return errors.Join(err, p.SessionLocker.SessionUnlock(ctx, conn))
}

// Step is one migration and whether the database has it.
type Step struct {
	Version int64
	File    string
	Applied bool
}

// Up applies what is missing and gives the steps it applied.
func (m *Migrator) Up(ctx context.Context) ([]Step, error) {
	// Checked first without the lock: an instance that has nothing to do need not queue for it.
	if pending, err := m.provider.HasPending(ctx); err != nil || !pending {
		return nil, classify(ctx, err)
	}
	results, err := m.provider.Up(context.WithValue(ctx, patientKey{}, true))
	if err != nil {
		return nil, fmt.Errorf("migrate up: %w", err)
	}
	steps := make([]Step, len(results))
	for i, r := range results {
		steps[i] = Step{r.Source.Version, r.Source.Path, true}
	}
	return steps, nil
}

// Down takes back the latest step.
func (m *Migrator) Down(ctx context.Context) (Step, error) {
	r, err := m.provider.Down(context.WithValue(ctx, patientKey{}, true))
	if err != nil {
		return Step{}, fmt.Errorf("migrate down: %w", err)
	}
	return Step{r.Source.Version, r.Source.Path, false}, nil
}

// Status lists every step.
func (m *Migrator) Status(ctx context.Context) ([]Step, error) {
	all, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", err)
	}
	steps := make([]Step, len(all))
	for i, s := range all {
		steps[i] = Step{s.Source.Version, s.Source.Path, s.State == goose.StateApplied}
	}
	return steps, nil
}

// Pending reports whether steps are missing.
func (m *Migrator) Pending(ctx context.Context) (bool, error) {
	pending, err := m.provider.HasPending(ctx)
	return pending, classify(ctx, err)
}
