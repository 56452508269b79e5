package correlation_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
)

func TestStrangersIDsAreTakenWhenTheyAreWellFormed(t *testing.T) {
	t.Parallel()
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, id := range []string{"a", "A.b_c:d-9", strings.Repeat("x", 128)} {
		require.Equal(t, correlation.IDs{Correlation: id, Traceparent: traceparent}, correlation.Accept(id, traceparent))
	}
	for _, id := range []string{"", " ", "a b", "a\n", "ä", strings.Repeat("x", 129), "a/b"} {
		ids := correlation.Accept(id, "00-zz")
		require.NoError(t, uuid.Validate(ids.Correlation), "%q", id)
		require.Empty(t, ids.Traceparent)
	}
}

func TestContextCarriesTheIDs(t *testing.T) {
	t.Parallel()
	require.Zero(t, correlation.From(t.Context()))
	ids := correlation.Accept("a", "")
	require.Equal(t, ids, correlation.From(correlation.With(t.Context(), ids)))
}

func TestMalformedTraceContextIsDropped(t *testing.T) {
	t.Parallel()
	for _, traceparent := range []string{
		"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
	} {
		require.Empty(t, correlation.Accept("a", traceparent).Traceparent, "%q", traceparent)
	}
	const zeros = "00-00000000000000000000000000000001-0000000000000001-00"
	require.Equal(t, zeros, correlation.Accept("a", zeros).Traceparent)
}
