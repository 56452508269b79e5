package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"

	"github.com/lib/pq"
)

// maxPrepared bounds the statements one connection remembers. The service has far fewer; the bound
// is for a query whose text varies.
const maxPrepared = 256

// connector opens lib/pq connections that prepare each statement once and remember it. lib/pq by
// itself parses and plans a query with arguments anew each time (2,840 against 4,560 transactions
// a second), and statements prepared through database/sql need a second connection while a
// transaction holds the first: with every connection in a transaction that never ends.
type connector struct{ *pq.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	var socket net.Conn
	conn, err := c.Connector.Connect(context.WithValue(ctx, socketKey{}, &socket))
	if err != nil {
		return nil, err
	}
	full, ok := conn.(pqConn)
	if !ok {
		return nil, errors.New("postgres: the driver's connection lost a capability that is needed")
	}
	return tracedConn{&preparedConn{pqConn: full, socket: socket, stmts: map[string]pqStmt{}}}, nil
}

// pqConn is what database/sql may ask of a lib/pq connection.
type pqConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
	driver.QueryerContext
	driver.ExecerContext
}

type pqStmt interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

// preparedConn is used by one goroutine at a time, as database/sql promises; it needs no lock.
type preparedConn struct {
	pqConn
	socket   net.Conn
	stmts    map[string]pqStmt
	caller   context.Context // of the latest statement, until the connection is put back
	outdated bool            // the database has changed so that the statements no longer fit
}

// QueryContext implements driver.QueryerContext.
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, err := c.prepared(ctx, query, len(args))
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		rows, err := c.pqConn.QueryContext(ctx, query, args)
		return rows, c.ran(err)
	}
	rows, err := stmt.QueryContext(ctx, args)
	return rows, c.ran(err)
}

// ExecContext implements driver.ExecerContext.
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.prepared(ctx, query, len(args))
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		result, err := c.pqConn.ExecContext(ctx, query, args)
		return result, c.ran(err)
	}
	result, err := stmt.ExecContext(ctx, args)
	return result, c.ran(err)
}

// ran judges the error of a statement that was sent. database/sql runs a statement again on another
// connection after driver.ErrBadConn: right only if the server has certainly not run it.
func (c *preparedConn) ran(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return errInterrupted
	}
	if pqErr, ok := errors.AsType[*pq.Error](err); ok &&
		(pqErr.Routine == "RevalidateCachedQuery" || pqErr.Code == "26000") { // columns changed type; statement gone
		c.outdated = true
		return driver.ErrBadConn
	}
	return err
}

// IsValid implements driver.Validator: whether the connection may go back to the pool. Where the
// caller gave up, a request to cancel is under way, and could hit the next statement.
func (c *preparedConn) IsValid() bool {
	caller := c.caller
	c.caller = nil
	c.rest()
	return c.pqConn.IsValid() && !c.outdated && (caller == nil || caller.Err() == nil)
}

// ResetSession implements driver.SessionResetter: whether the connection may be used again. A server
// that has closed it in the meantime has said so by now, and another one is taken.
func (c *preparedConn) ResetSession(ctx context.Context) error {
	if !silent(c.socket) {
		return driver.ErrBadConn
	}
	return c.pqConn.ResetSession(ctx)
}

// prepared is nil for a query that goes unprepared: without arguments it may be several statements.
func (c *preparedConn) prepared(ctx context.Context, query string, args int) (pqStmt, error) {
	c.caller = ctx
	c.await(ctx)
	if stmt, ok := c.stmts[query]; ok {
		return stmt, nil
	}
	if args == 0 || len(c.stmts) >= maxPrepared {
		return nil, nil
	}
	made, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	stmt, ok := made.(pqStmt)
	if !ok {
		return nil, errors.New("postgres: the driver's statement lost a capability that is needed")
	}
	c.stmts[query] = stmt
	return stmt, nil
}
