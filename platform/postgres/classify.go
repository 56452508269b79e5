package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"

	"user-service/platform/fault"
)

// errInterrupted says that the connection was lost while a statement ran: nobody knows whether it
// took effect, so it is not repeated.
var errInterrupted = errors.New("postgres: the connection was lost while a statement ran")

// classify turns "the server is away" into a fault and leaves every other error as it is. A caller
// who gave up gets context.Canceled, whatever the server made of it.
func classify(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if gaveUp := ctx.Err(); gaveUp != nil {
		err = fmt.Errorf("%w: %w", gaveUp, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if pqErr, ok := errors.AsType[*pq.Error](err); ok {
		if away(pqErr) {
			return fault.Away(err)
		}
		return err
	}
	if _, isNet := errors.AsType[net.Error](err); isNet {
		return fault.Away(err)
	}
	for _, lost := range []error{errInterrupted, driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, sql.ErrConnDone, context.DeadlineExceeded} {
		if errors.Is(err, lost) {
			return fault.Away(err)
		}
	}
	return err
}

// away lists the conditions that end by themselves or by an operator: the client may try again.
// Codes: PostgreSQL manual, appendix A.
func away(err *pq.Error) bool {
	switch string(err.Code) {
	case "57P01", "57P02", "57P03", // admin_shutdown, crash_shutdown, cannot_connect_now
		"57014",                   // query_canceled: statement_timeout
		"55P03", "40P01", "40001", // lock_not_available, deadlock_detected, serialization_failure
		"25P03", // idle_in_transaction_session_timeout
		"25006": // read_only_sql_transaction: the primary has moved
		return true
	}
	class := string(err.Code.Class())
	return class == "08" || class == "53" // connection exception, insufficient resources
}
