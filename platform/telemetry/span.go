package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is one step of a trace. The zero Span is none.
type Span struct{ span trace.Span }

// Rename is for a step whose name is known only when it is done.
func (s Span) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set says more about the step.
func (s Span) Set(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// SetNumber says more about the step, in figures.
func (s Span) SetNumber(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// End says that the step is done, or has failed. Why it failed is in the log: an error may quote what
// a trace must not show.
func (s Span) End(failed bool) {
	if s.span == nil {
		return
	}
	if failed {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// Statement makes the span of one statement of SQL, which has its arguments apart.
func Statement(ctx context.Context, statement string) Span {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return Span{}
	}
	words := strings.Fields(statement)
	if len(words) == 0 {
		return Span{}
	}
	_, span := Child(ctx, Client, strings.ToUpper(words[0]))
	span.Set("db.system.name", "postgresql")
	span.Set("db.query.text", strings.Join(words, " "))
	return span
}
