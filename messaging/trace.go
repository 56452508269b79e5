package messaging

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"user-service/platform/correlation"
	"user-service/platform/telemetry"
)

// traced gives each message a span under the trace context it came with. What it causes goes on from
// there; its own copies keep what came, so that all attempts stand side by side.
func traced(tracer *telemetry.Tracer, queue string) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		if tracer == nil {
			return next
		}
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx, span := tracer.Begin(msg.Context(), telemetry.Consumer, "process "+queue)
			msg.SetContext(ctx)
			produced, err := next(msg)
			if became, ok := ctx.Value(fateKey{}).(*fate); ok && err == nil {
				span.Set("messaging.fate", became.name)
			}
			describeSpan(span, queue)
			span.End(err != nil)
			return produced, err
		}
	}
}

// traceRows gives each row a span of its own trace, and has it carried under that. done ends them.
func traceRows(ctx context.Context, tracer *telemetry.Tracer, rows []outboxRow, destination string) (done func(failed bool)) {
	if tracer == nil {
		return func(bool) {}
	}
	spans := make([]telemetry.Span, 0, len(rows))
	for i, row := range rows {
		if row.Traceparent == "" { // nobody followed its cause
			continue
		}
		its, span := tracer.Begin(correlation.With(ctx, correlation.IDs{Correlation: row.CorrelationID, Traceparent: row.Traceparent}), telemetry.Producer, "publish "+row.Topic)
		describeSpan(span, destination)
		rows[i].Traceparent = correlation.From(its).Traceparent
		spans = append(spans, span)
	}
	return func(failed bool) {
		for _, span := range spans {
			span.End(failed)
		}
	}
}

func describeSpan(span telemetry.Span, destination string) {
	span.Set("messaging.system", "rabbitmq")
	span.Set("messaging.destination.name", destination)
}
