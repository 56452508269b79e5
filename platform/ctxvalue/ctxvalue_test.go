package ctxvalue_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/ctxvalue"
)

type name string

type place string

func TestLatestValueOfEachTypeIsFound(t *testing.T) {
	t.Parallel()
	_, ok := ctxvalue.From[name](t.Context())
	require.False(t, ok)

	ctx := ctxvalue.With(ctxvalue.With(ctxvalue.With(t.Context(), name("Ada")), place("London")), name("Grace"))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	who, ok := ctxvalue.From[name](ctx)
	require.True(t, ok)
	require.EqualValues(t, "Grace", who)
	where, ok := ctxvalue.From[place](ctx)
	require.True(t, ok)
	require.EqualValues(t, "London", where)
	_, ok = ctxvalue.From[string](ctx)
	require.False(t, ok, "another type, whatever it is made of")
}

func TestWhatWasThereBeforeIsFound(t *testing.T) {
	t.Parallel()
	type plain struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), plain{}, 1))
	held := ctxvalue.With(ctx, name("Ada"))
	require.Equal(t, 1, held.Value(plain{}))
	cancel()
	require.ErrorIs(t, held.Err(), context.Canceled)
}

func TestValueCostsOneAllocation(t *testing.T) {
	ctx := ctxvalue.With(t.Context(), place("London"))
	var held any
	require.Equal(t, 1, int(testing.AllocsPerRun(100, func() { held = ctxvalue.With(ctx, name("Ada")) })))
	require.NotNil(t, held)
	require.Zero(t, int(testing.AllocsPerRun(100, func() { _, _ = ctxvalue.From[place](ctx) })))
}
