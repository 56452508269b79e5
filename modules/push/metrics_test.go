package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// babbling is a provider that never says the same twice.
type babbling struct{ said int }

func (*babbling) Name() string { return "babbling" }

func (*babbling) Takes(string) bool { return true }

func (b *babbling) Send(context.Context, Notification) (string, error) {
	b.said++
	detail := fmt.Sprintf("reason %d of device-%d", b.said, b.said)
	return "", []error{nil, new(DeadToken), &Rejected{detail, detail}, &Away{Cause: errors.New(detail), Busy: true}}[b.said%4]
}

func TestWhatAProviderSaysMakesNoLabels(t *testing.T) {
	t.Parallel()
	m := New(nil, nil, Settings{Providers: []Provider{new(babbling)}, Attempts: 5}, slog.New(slog.DiscardHandler))
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.Collectors()...)
	for n := range 200 {
		_, err := m.providers[0].Send(t.Context(), Notification{})
		m.metrics.outcome(failed, m.providers[0].Name(), fmt.Sprintf("%d: %v", n, err))
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	series := map[string]int{}
	for _, family := range families {
		series[family.GetName()] = len(family.Metric)
	}
	require.Equal(t, map[string]int{"push_outcomes_total": 1, "push_provider_duration_seconds": 4, "push_breaker_state": 4}, series)
}
