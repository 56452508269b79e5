package messaging

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	descQueueReady = prometheus.NewDesc("queue_messages_ready",
		"Messages that wait in a queue; those that consumers hold are not among them.", []string{"queue"}, nil)
	descQueueConsumers = prometheus.NewDesc("queue_consumers", "Consumers of a queue, of all processes.", []string{"queue"}, nil)
)

// queueDepths tells how much waits in the queues this service takes from, and in the failed queue.
// Nothing is told while the broker is away, nor of a queue that is not there.
type queueDepths struct{ glance *glance[[]amqp.Queue] }

// QueueDepths is the metrics of the queues of t, asked for over conn.
func QueueDepths(conn *Connection, t Topology) prometheus.Collector {
	names := append(t.Consumed(), t.FailedQueue)
	return queueDepths{&glance[[]amqp.Queue]{look: func(context.Context) (queues []amqp.Queue, err error) {
		for _, name := range names {
			if err := conn.inspect(name, &queues); err != nil {
				return nil, err
			}
		}
		return queues, nil
	}}}
}

// inspect adds what the broker tells of a queue. The channel is thrown away: asking for a queue that
// is not there closes it.
func (c *Connection) inspect(name string, queues *[]amqp.Queue) error {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return errNotConnected
	}
	refused, err := onOwnChannel(conn, func(ch *amqp.Channel) error {
		queue, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		if err == nil {
			*queues = append(*queues, queue)
		}
		return err
	})
	if refused != nil && (refused.Code == amqp.NotFound || refused.Code == amqp.ResourceLocked || refused.Code == amqp.AccessRefused) {
		return nil
	}
	return err
}

// Describe implements prometheus.Collector.
func (queueDepths) Describe(out chan<- *prometheus.Desc) {
	out <- descQueueReady
	out <- descQueueConsumers
}

// Collect implements prometheus.Collector.
func (d queueDepths) Collect(out chan<- prometheus.Metric) {
	queues, _ := d.glance.value()
	for _, queue := range queues {
		out <- prometheus.MustNewConstMetric(descQueueReady, prometheus.GaugeValue, float64(queue.Messages), queue.Name)
		out <- prometheus.MustNewConstMetric(descQueueConsumers, prometheus.GaugeValue, float64(queue.Consumers), queue.Name)
	}
}
