package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"user-service/migrations"
	"user-service/platform/postgres"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply every step the database lacks. Example: user-service migrate up"`
	Down   migrateDown   `cmd:"" help:"Take back the latest step. Example: user-service migrate down"`
	Status migrateStatus `cmd:"" help:"List the steps. Example: user-service migrate status"`
}

type (
	migrateUp     struct{}
	migrateDown   struct{}
	migrateStatus struct{}
)

// Run applies what is missing.
func (migrateUp) Run(ctx context.Context) error {
	return withMigrator(func(m *postgres.Migrator) error {
		steps, err := m.Up(ctx)
		for _, step := range steps {
			fmt.Println("applied", step.File)
		}
		if err == nil && len(steps) == 0 {
			fmt.Println("the database is up to date")
		}
		return err
	})
}

// Run takes back one step.
func (migrateDown) Run(ctx context.Context) error {
	return withMigrator(func(m *postgres.Migrator) error {
		step, err := m.Down(ctx)
		if err == nil {
			fmt.Println("took back", step.File)
		}
		return err
	})
}

// Run prints a table.
func (migrateStatus) Run(ctx context.Context) error {
	return withMigrator(func(m *postgres.Migrator) error {
		steps, err := m.Status(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		for _, step := range steps {
			state := "missing"
			if step.Applied {
				state = "applied"
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\n", step.File, state)
		}
		return table.Flush()
	})
}

// withMigrator needs the database's settings alone.
func withMigrator(fn func(*postgres.Migrator) error) error {
	e := environment{}
	dsn := databaseURL(&e)
	if len(e.faults) > 0 {
		return errors.New(strings.Join(e.faults, "\nuser-service: "))
	}
	db, err := postgres.Open(dsn, 2)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	migrator, err := db.NewMigrator(migrations.Files)
	if err != nil {
		return err
	}
	if err := fn(migrator); err != nil {
		return fmt.Errorf("%w (the database is that of DATABASE_URL or DB_HOST …)", err)
	}
	return nil
}
