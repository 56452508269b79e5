package messaging

import (
	"context"
	"errors"

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

// queueDepths tells how much waits in the queues this service takes from, in the failed queue, and outside
// for another attempt. Nothing is told while the broker is away, nor of a queue that is not there. What
// waits outside is in many queues, and looked at apart: on a slow way to the broker it may not come in time.
type queueDepths struct{ ready, parked *glance[[]amqp.Queue] }

// QueueDepths is the metrics of the queues of t, asked for over conn.
func QueueDepths(conn *Connection, t Topology) prometheus.Collector {
	ready, parked := map[string][]string{t.FailedQueue: {t.FailedQueue}}, map[string][]string{}
	for _, queue := range t.Consumed() {
		ready[queue], parked[queue] = []string{queue}, t.RetryQueues(queue)
	}
	look := func(queues map[string][]string) *glance[[]amqp.Queue] {
		return &glance[[]amqp.Queue]{look: func(context.Context) ([]amqp.Queue, error) { return conn.inspect(queues) }}
	}
	return queueDepths{look(ready), look(parked)}
}

// inspect sums up what the broker tells of the queues that stand together under a name.
func (c *Connection) inspect(queues map[string][]string) (sums []amqp.Queue, err error) {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return nil, errNotConnected
	}
	var ch *amqp.Channel
	defer func() {
		if ch != nil {
			_ = ch.Close()
		}
	}()
	for name, parts := range queues {
		sum, there := amqp.Queue{Name: name}, false
		for _, part := range parts {
			if ch == nil {
				if ch, err = conn.Channel(); err != nil {
					return nil, err
				}
			}
			queue, err := ch.QueueDeclarePassive(part, true, false, false, false, nil)
			if err != nil {
				if absent(err) {
					ch = nil // the broker has closed it
					continue
				}
				return nil, err
			}
			there = true
			sum.Messages += queue.Messages
			sum.Consumers += queue.Consumers
		}
		if there {
			sums = append(sums, sum)
		}
	}
	return sums, nil
}

// absent tells a queue that is not there, or not ours to look at, from a fault.
func absent(err error) bool {
	refused, ok := errors.AsType[*amqp.Error](err)
	return ok && (refused.Code == amqp.NotFound || refused.Code == amqp.ResourceLocked || refused.Code == amqp.AccessRefused)
}

// Describe implements prometheus.Collector.
func (queueDepths) Describe(out chan<- *prometheus.Desc) {
	out <- descQueueReady
	out <- descQueueParked
	out <- descQueueConsumers
}

// Collect implements prometheus.Collector.
func (d queueDepths) Collect(out chan<- prometheus.Metric) {
	ready, _ := d.ready.value()
	for _, queue := range ready {
		out <- prometheus.MustNewConstMetric(descQueueReady, prometheus.GaugeValue, float64(queue.Messages), queue.Name)
		out <- prometheus.MustNewConstMetric(descQueueConsumers, prometheus.GaugeValue, float64(queue.Consumers), queue.Name)
	}
	parked, _ := d.parked.value()
	for _, queue := range parked {
		out <- prometheus.MustNewConstMetric(descQueueParked, prometheus.GaugeValue, float64(queue.Messages), queue.Name)
	}
}
