package messaging

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// countedRows is how far the waiting rows are counted: so a million cost no more than these.
const countedRows = 10_000

// sizeOfOutbox looks at the first rows of each lane only, by the index in which the relay takes them.
// Rows that are being carried count, since they are deleted only when they have been confirmed.
var sizeOfOutbox = sizeOf(eventLane) + ` UNION ALL ` + sizeOf(mailLane) + ` UNION ALL ` + sizeOf(pushLane)

func sizeOf(l lane) string {
	return `
	SELECT '` + l.name + `' AS lane, count(*) AS rows, coalesce(extract(epoch FROM now() - min(created_at)), 0) AS age
	FROM (SELECT created_at FROM messaging.outbox WHERE ` + l.rows + ` ORDER BY position LIMIT $1) AS ` + l.name
}

type laneSize struct {
	Lane string  `db:"lane"`
	Rows float64 `db:"rows"`
	Age  float64 `db:"age"`
}

var (
	descOutboxRows = prometheus.NewDesc("outbox_rows",
		"Rows that wait in the outbox, by lane; exact up to 10000, which stands for so many or more.", []string{"lane"}, nil)
	descOutboxAge = prometheus.NewDesc("outbox_oldest_row_age_seconds",
		"Age of the oldest row of the outbox, by lane; 0 when it is empty.", []string{"lane"}, nil)
)

// outboxSize tells how much waits, whichever process is to carry it. Nothing is told while the
// database is away.
type outboxSize struct{ glance *glance[[]laneSize] }

func newOutboxLag() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "outbox_relay_lag_seconds", Help: "Time from the transaction that wrote a row to the broker's confirm, by lane.",
		Buckets: prometheus.ExponentialBuckets(0.002, 3, 13),
	}, []string{"lane"})
}

// Collectors give the metrics of the outbox.
func (o *Outbox) Collectors() []prometheus.Collector {
	look := func(ctx context.Context) (sizes []laneSize, err error) {
		err = o.db.Select(ctx, &sizes, sizeOfOutbox, countedRows)
		return sizes, err
	}
	return []prometheus.Collector{o.lag, outboxSize{&glance[[]laneSize]{look: look}}}
}

// Describe implements prometheus.Collector.
func (outboxSize) Describe(out chan<- *prometheus.Desc) {
	out <- descOutboxRows
	out <- descOutboxAge
}

// Collect implements prometheus.Collector.
func (s outboxSize) Collect(out chan<- prometheus.Metric) {
	sizes, _ := s.glance.value()
	for _, size := range sizes {
		out <- prometheus.MustNewConstMetric(descOutboxRows, prometheus.GaugeValue, size.Rows, size.Lane)
		out <- prometheus.MustNewConstMetric(descOutboxAge, prometheus.GaugeValue, size.Age, size.Lane)
	}
}
