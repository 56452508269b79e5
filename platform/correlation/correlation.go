// Package correlation carries the two ids that tie together all that one request causes: the
// correlation id, always there, on every reply, log line and message; and the W3C trace context
// (https://www.w3.org/TR/trace-context/), when the caller sent one, on every message.
package correlation

import (
	"context"
	"regexp"

	"github.com/google/uuid"

	"user-service/platform/ctxvalue"
)

// Header names a correlation id and a trace context in HTTP and AMQP.
const (
	Header      = "X-Correlation-ID"
	TraceHeader = "traceparent"
)

// IDs are what a request or message was tagged with.
type IDs struct {
	Correlation string
	Traceparent string // "" when the caller sent none or a malformed one
}

var (
	validID          = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	validTraceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	// The version ff, and ids of zeros only, are not allowed.
	invalidTraceparent = regexp.MustCompile(`^ff|-0{32}-|-0{16}-`)
)

// Accept takes the ids a stranger sent: a malformed correlation id is replaced by a new one, a
// malformed trace context dropped.
func Accept(correlationID, traceparent string) IDs {
	if correlationID == "" || !validID.MatchString(correlationID) {
		correlationID = uuid.Must(uuid.NewV7()).String()
	}
	if traceparent != "" && (!validTraceparent.MatchString(traceparent) || invalidTraceparent.MatchString(traceparent)) {
		traceparent = ""
	}
	return IDs{Correlation: correlationID, Traceparent: traceparent}
}

// With puts ids into the context.
func With(ctx context.Context, ids IDs) context.Context { return ctxvalue.With(ctx, ids) }

// From reads the ids of the context; both are empty outside a request or message.
func From(ctx context.Context) IDs {
	ids, _ := ctxvalue.From[IDs](ctx)
	return ids
}
