package telemetry_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
	"user-service/platform/telemetry"
)

func TestWithoutATracerNothingIsChangedAndNothingAllocated(t *testing.T) {
	ids := correlation.IDs{Correlation: "a", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	ctx := correlation.With(t.Context(), ids)
	var off *telemetry.Tracer
	require.Zero(t, testing.AllocsPerRun(100, func() {
		begun, span := off.Begin(ctx, telemetry.Server, "request")
		inner, child := telemetry.Child(begun, telemetry.Client, "push by webhook")
		statement := telemetry.Statement(inner, "SELECT 1")
		statement.End(false)
		child.End(true)
		span.Set("http.route", "/users/")
		span.Rename("GET /users/")
		span.End(false)
	}))
	begun, _ := off.Begin(ctx, telemetry.Server, "request")
	require.Equal(t, ids, correlation.From(begun))
	require.NoError(t, off.Stop(ctx))
}
