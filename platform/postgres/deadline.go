package postgres

import (
	"context"
	"database/sql/driver"
	"time"

	"user-service/platform/telemetry"
)

// answerWithin is how long the server may take over one statement: longer than its own
// statement_timeout, so that it is passed only by a server, or a network, that has gone silent.
const answerWithin = 18 * time.Second

// cancelWithin is what is left to the server, after the caller's deadline, to confirm that it has
// given up. lib/pq itself would go on reading for ever: a context cannot interrupt its read.
const cancelWithin = time.Second

// await bounds the exchange that follows.
func (c *preparedConn) await(ctx context.Context) {
	if ctx.Value(patientKey{}) != nil {
		c.rest()
		return
	}
	limit := time.Now().Add(answerWithin)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(cancelWithin).Before(limit) {
		limit = deadline.Add(cancelWithin)
	}
	_ = c.socket.SetDeadline(limit) // a connection that is closed says so when it is used
}

// rest lifts the bound from a connection that goes back to the pool.
func (c *preparedConn) rest() { _ = c.socket.SetDeadline(time.Time{}) }

// Close implements driver.Conn.
func (c *preparedConn) Close() error {
	_ = c.socket.SetDeadline(time.Now().Add(cancelWithin))
	return c.pqConn.Close()
}

// patientKey marks the context of a migration, where an index on a large table takes its time, and
// of a Snapshot, which reads one.
type patientKey struct{}

// BeginTx implements driver.ConnBeginTx.
func (c *preparedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.await(ctx)
	tx, err := c.pqConn.BeginTx(ctx, opts)
	return &boundedTx{tx, c, ctx}, err
}

// Ping implements driver.Pinger.
func (c *preparedConn) Ping(ctx context.Context) error {
	c.await(ctx)
	return c.pqConn.Ping(ctx)
}

// boundedTx heeds no context: a commit that was asked for is not given up.
type boundedTx struct {
	driver.Tx
	conn  *preparedConn
	begun context.Context // whose trace the commit belongs to
}

// Commit implements driver.Tx.
func (t *boundedTx) Commit() error {
	t.conn.await(context.Background())
	span := telemetry.Statement(t.begun, "COMMIT")
	err := t.Tx.Commit()
	span.End(err != nil)
	return err
}

// Rollback implements driver.Tx.
func (t *boundedTx) Rollback() error {
	t.conn.await(context.Background())
	return t.Tx.Rollback()
}
