package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"user-service/migrations"
	"user-service/platform/fault"
	"user-service/platform/logging"
)

// withModules gives a command of operators the modules, on a database that is up to date. What such
// a command tells the world waits in the outbox for a service that runs.
func withModules(ctx context.Context, fn func(*core) error) error {
	c, faults := operatorConfig()
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "\nuser-service: "))
	}
	k, err := newCore(c, 2, logging.New(os.Stderr, c.LogLevel, true))
	if err != nil {
		return err
	}
	defer func() { _ = k.db.Close() }()
	migrator, err := k.db.NewMigrator(migrations.Files)
	if err != nil {
		return err
	}
	if err := upToDate(ctx, migrator); err != nil {
		return fmt.Errorf("%w (the database is that of DATABASE_URL or DB_HOST …)", err)
	}
	return byField(fn(k))
}

// byField writes a line for each rule that was broken.
func byField(err error) error {
	fields := fault.From(err).Fields
	if err == nil || len(fields) == 0 {
		return err
	}
	return errors.New(strings.Join(fields.Lines(), "\nuser-service: "))
}
