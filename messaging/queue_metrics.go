package messaging

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	descQueueReady = prometheus.NewDesc("queue_messages_ready",
		"Messages that wait in a queue; those that consumers hold are not among them.", []string{"queue"}, nil)
	descQueueParked = prometheus.NewDesc("queue_messages_parked",
		"Messages of a queue that wait outside of it for another attempt.", []string{"queue"}, nil)
	descQueueConsumers = prometheus.NewDesc("queue_consumers", "Consumers of a queue, of all processes.", []string{"queue"}, nil)
)

// queueDepths tells how much waits in the queues this service takes from, and in the failed queue.
// Nothing is told while the broker is away, nor of a queue that is not there.
type queueDepths struct{ glance *glance[[]depth] }

// depth is what the broker tells of a queue.
type depth struct {
	amqp.Queue
	parked int // in the queues that give back to it
}

// QueueDepths is the metrics of the queues of t, asked for over conn.
func QueueDepths(conn *Connection, t Topology) prometheus.Collector {
	names := append(t.Consumed(), t.FailedQueue)
	return queueDepths{&glance[[]depth]{look: func(context.Context) (depths []depth, err error) {
		for _, name := range names {
			d := depth{}
			var there bool
			if d.Queue, there, err = conn.inspect(name); err != nil {
				return nil, err
			}
			if !there {
				continue
			}
			if name != t.FailedQueue {
				for _, retry := range t.RetryQueues(name) {
					waiting, _, err := conn.inspect(retry)
					if err != nil {
						return nil, err
					}
					d.parked += waiting.Messages
				}
			}
			depths = append(depths, d)
		}
		return depths, nil
	}}}
}

// inspect gives what the broker tells of a queue. The channel is thrown away: asking for a queue that
// is not there closes it.
func (c *Connection) inspect(name string) (queue amqp.Queue, there bool, err error) {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return queue, false, errNotConnected
	}
	refused, err := onOwnChannel(conn, func(ch *amqp.Channel) (err error) {
		queue, err = ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if refused != nil && (refused.Code == amqp.NotFound || refused.Code == amqp.ResourceLocked || refused.Code == amqp.AccessRefused) {
		return queue, false, nil
	}
	return queue, err == nil, err
}

// Describe implements prometheus.Collector.
func (queueDepths) Describe(out chan<- *prometheus.Desc) {
	out <- descQueueReady
	out <- descQueueParked
	out <- descQueueConsumers
}

// Collect implements prometheus.Collector.
func (d queueDepths) Collect(out chan<- prometheus.Metric) {
	depths, _ := d.glance.value()
	for _, d := range depths {
		for desc, value := range map[*prometheus.Desc]int{descQueueReady: d.Messages, descQueueParked: d.parked, descQueueConsumers: d.Consumers} {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), d.Name)
		}
	}
}
