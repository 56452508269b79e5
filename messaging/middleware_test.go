package messaging

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestMessagesAreCountedByTheirFate(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	middleware := measure(registry, "push.queue", silent)
	for _, fate := range []error{nil, nil, errors.New("given back")} {
		_, err := middleware(func(*message.Message) ([]*message.Message, error) { return nil, fate })(message.NewMessage("1", nil))
		require.Equal(t, fate, err)
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	got := map[string]uint64{}
	require.Equal(t, "queue_message_duration_seconds", families[1].GetName())
	for _, metric := range families[1].Metric {
		got[metric.Label[0].GetValue()] = metric.Histogram.GetSampleCount()
	}
	require.Equal(t, map[string]uint64{"handled": 2, "returned": 1}, got)
	require.NotPanics(t, func() { measure(registry, "another.queue", silent) })
}
