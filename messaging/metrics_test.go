package messaging

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// gauges are the values of a metric by its first label.
func gauges(t testing.TB, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	found := map[string]float64{}
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.Metric {
				found[metric.Label[0].GetValue()] = metric.GetGauge().GetValue()
			}
		}
	}
	return found
}

func TestOutboxTellsItsSizeAndStopsCountingAtABound(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.outbox.Collectors()...)
	rows := func() map[string]float64 { return gauges(t, registry, "outbox_rows") }
	servertest.Eventually(t, func() bool { return len(rows()) == 3 }, "the first look") // a busy machine may be late
	require.Equal(t, map[string]float64{"events": 0, "mails": 0, "pushes": 0}, rows())

	_, err := s.db.Exec(t.Context(), `
		INSERT INTO messaging.outbox (id, topic, source, subject, sequence, correlation_id, traceparent, data, created_at)
		SELECT gen_random_uuid(), CASE WHEN n > 3 THEN 'a.b' ELSE 'email' END, 'test', 'a', 0, '', '', '{}', now() - interval '1 hour'
		FROM generate_series(1, $1) AS n`, 3+countedRows+50)
	require.NoError(t, err)
	servertest.Eventually(t, func() bool {
		now := rows()
		return now["events"] == countedRows && now["mails"] == 3
	}, "the rows of each lane")
	servertest.Eventually(t, func() bool {
		age := gauges(t, registry, "outbox_oldest_row_age_seconds")
		return age["events"] >= 3600 && age["events"] < 7200 && age["mails"] >= 3600
	}, "the age of the oldest")
}

func TestDepthOfTheQueuesIsToldAndNothingWithoutABroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.topology.RetrySteps = []time.Duration{time.Hour}
	registry := prometheus.NewRegistry()
	registry.MustRegister(QueueDepths(b.connect(t), b.topology))
	for range 3 {
		b.put(t, amqp.Publishing{})
	}
	ready := func() map[string]float64 { return gauges(t, registry, "queue_messages_ready") }
	servertest.Eventually(t, func() bool { return ready()["push.queue"] == 3 }, "three messages")
	require.Contains(t, ready(), "failed.queue")
	for _, queue := range b.topology.RetryQueues("push.queue")[:2] {
		require.NoError(t, b.ch.PublishWithContext(t.Context(), "", queue, true, false, amqp.Publishing{}))
	}
	servertest.Eventually(t, func() bool { return gauges(t, registry, "queue_messages_parked")["push.queue"] == 2 }, "two that wait for another attempt")
	_, gone := b.ch.QueueDelete(b.topology.RetryQueues("push.queue")[0], false, false, false)
	require.NoError(t, gone)
	servertest.Eventually(t, func() bool { return gauges(t, registry, "queue_messages_parked")["push.queue"] == 1 }, "the others of those of which one is gone")

	_, err := b.ch.QueueDelete("failed.queue", false, false, false)
	require.NoError(t, err)
	servertest.Eventually(t, func() bool {
		_, there := ready()["failed.queue"]
		return !there && ready()["push.queue"] == 3
	}, "nothing of a queue that is gone")

	alone := prometheus.NewRegistry()
	alone.MustRegister(QueueDepths(NewConnection("amqp://127.0.0.1:1/", "nowhere", b.topology, silent), b.topology))
	require.Empty(t, gauges(t, alone, "queue_messages_ready"))
	require.Empty(t, gauges(t, alone, "queue_consumers"))
}

func TestAgeOfAMessageIsToldWhenItsProducerCanBeBelieved(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		delivery amqp.Delivery
		age      time.Duration
		known    bool
	}{
		"waited":             {amqp.Delivery{Timestamp: now.Add(-time.Minute)}, time.Minute, true},
		"a clock that leads": {amqp.Delivery{Timestamp: now.Add(time.Second)}, 0, true},
		"no time":            {amqp.Delivery{}, 0, false},
		"tried before":       {amqp.Delivery{Timestamp: now.Add(-time.Minute), Headers: amqp.Table{"x-attempts": int64(0)}}, 0, false},
		"long ago":           {amqp.Delivery{Timestamp: time.Unix(0, 0)}, 0, false},
		"in the future":      {amqp.Delivery{Timestamp: now.Add(time.Hour)}, 0, false},
	} {
		msg, err := marshaler{}.Unmarshal(test.delivery)
		require.NoError(t, err)
		age, known := ageOf(msg, now)
		require.Equal(t, test.known, known, name)
		if known {
			require.Equal(t, test.age, age, name)
		}
	}
	_, known := ageOf(message.NewMessage("1", nil), now)
	require.False(t, known, "no message of RabbitMQ")
}
