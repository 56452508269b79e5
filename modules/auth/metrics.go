package auth

import "github.com/prometheus/client_golang/prometheus"

// Collectors give the metrics of the module: how long the queue for the cores is. A registration or
// login that finds maxWaiting in it is turned away.
func (m *Module) Collectors() []prometheus.Collector {
	running := func() int64 { return int64(len(m.passwords.cores)) }
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashes_running", Help: "Password hashes that are being computed."},
			func() float64 { return float64(running()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashes_waiting", Help: "Password hashes that wait for a core. Beyond 100, with those that run, they are refused."},
			func() float64 { return float64(max(0, m.passwords.waiting.Load()-running())) }),
		m.passwords.refused,
	}
}
