// Package telemetry makes OpenTelemetry traces where an operator asks for them; only here is
// OpenTelemetry imported. A trace follows the trace context of platform/correlation: each step takes
// the one that came, makes a span under it, and passes the span's own on. Without a Tracer that context
// goes through as it came, and nothing here costs an allocation.
//
// A span names what was done and how long it took. Arguments, addresses and texts of errors are in none.
package telemetry

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"user-service/platform/correlation"
)

const scope = "user-service"

// Tracer begins traces and goes on with those of others. A nil Tracer does neither.
type Tracer struct {
	provider *sdktrace.TracerProvider
	spans    trace.Tracer
}

// New makes a tracer that sends its spans by OTLP over HTTP. The standard variables OTEL_* say where
// to, which share of the traces, and in whose name. It does not connect yet.
func New(ctx context.Context, version string, log *slog.Logger) (*Tracer, error) {
	log = log.With("logger", "telemetry")
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces not sent", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	whose, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", scope), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(whose))
	return &Tracer{provider, provider.Tracer(scope)}, nil
}

// Stop sends what has not been sent yet, as long as ctx allows.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx))
}

// Kind says which part a span has in its trace.
type Kind trace.SpanKind

// Kinds of spans.
const (
	Server   = Kind(trace.SpanKindServer)   // answers a request
	Client   = Kind(trace.SpanKindClient)   // asks another service
	Producer = Kind(trace.SpanKindProducer) // sends a message
	Consumer = Kind(trace.SpanKindConsumer) // handles a message
)

// Begin makes the span of what came from outside, under the trace context of ctx if there is one, and
// puts the span's own in its place.
func (t *Tracer) Begin(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	came := propagation.MapCarrier{correlation.TraceHeader: correlation.From(ctx).Traceparent}
	ctx, span := t.spans.Start(propagation.TraceContext{}.Extract(ctx, came), name, trace.WithSpanKind(trace.SpanKind(kind)))
	return passOn(ctx), Span{span}
}

// Child makes a span under the one of ctx; none when there is none, or it is not recorded.
func Child(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKind(kind)))
	return passOn(ctx), Span{span}
}

// passOn makes the span of ctx the trace context of all that leaves the service.
func passOn(ctx context.Context) context.Context {
	own := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, own)
	ids := correlation.From(ctx)
	ids.Traceparent = own[correlation.TraceHeader]
	return correlation.With(ctx, ids)
}
