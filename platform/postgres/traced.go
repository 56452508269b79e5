package postgres

import (
	"context"
	"database/sql/driver"

	"user-service/platform/telemetry"
)

// tracedConn has a span for each statement that belongs to a trace; boundedTx has one for the commit.
type tracedConn struct{ *preparedConn }

// QueryContext implements driver.QueryerContext.
func (c tracedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	span := telemetry.Statement(ctx, query)
	rows, err := c.preparedConn.QueryContext(ctx, query, args)
	span.End(err != nil)
	return rows, err
}

// ExecContext implements driver.ExecerContext.
func (c tracedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	span := telemetry.Statement(ctx, query)
	result, err := c.preparedConn.ExecContext(ctx, query, args)
	span.End(err != nil)
	return result, err
}
