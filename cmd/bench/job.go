package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// job is one thing to measure, done by two programs.
type job struct {
	what           string   // for the table
	bar            float64  // the least ratio that will do
	settings       []string // of the service, where its defaults cannot do the job
	floor, service side
}

// side does the job once with one of the programs. scale shortens it: 1 is a round in full.
type side func(ctx context.Context, scale float64) round

// round is what one round of one side gave.
type round struct {
	done      int
	took      time.Duration
	latencies []time.Duration // of each request; none where a backlog is worked off
}

// rate is how many were done in a second.
func (r round) rate() float64 { return float64(r.done) / r.took.Seconds() }

const mebibyte = 1.048576 // in MB

// warmUp fills pools, caches and prepared statements, and is not counted.
const warmUp = 0.15

// run alternates floor and service, so that whatever else the machine does meanwhile meets both.
func (j job) run(ctx context.Context, w *world, name string, rounds int, scale float64) result {
	if j.settings != nil {
		w.restartService(ctx, j.settings...)
	}
	r := result{Job: j.what, Bar: j.bar}
	var latencies [2][]time.Duration
	var costs [2][]cost
	var peaks [2]float64
	sides, programs := []side{j.floor, j.service}, []*child{w.floor, w.service}
	for _, side := range sides {
		w.settle(ctx)
		side(ctx, warmUp)
	}
	w.settle(ctx)
	for n := range rounds {
		var pair [2]float64
		for i, side := range sides {
			programs[i].forgetPeak()
			before := w.spent(programs[i])
			did := side(ctx, scale)
			w.settle(ctx) // what it left to do is part of its cost
			costs[i] = append(costs[i], costOf(before, w.spent(programs[i]), did.done))
			pair[i] = did.rate()
			fmt.Printf("%-6s round %d of %d  %-8s %8.0f/s %6.1f s\n", name, n+1, rounds, [2]string{"floor", "service"}[i], pair[i], did.took.Seconds())
			latencies[i] = append(latencies[i], did.latencies...)
			peaks[i] = max(peaks[i], programs[i].peak()*mebibyte)
		}
		r.Rounds = append(r.Rounds, pair)
	}
	r.FloorCost, r.ServiceCost = medianCost(costs[0]), medianCost(costs[1])
	r.FloorPeak, r.ServicePeak = peaks[0], peaks[1]
	r.summarise(latencies)
	if j.settings != nil {
		w.restartService(ctx) // as the other jobs have it
	}
	return r
}

// result is what the rounds of one job gave.
type result struct {
	Job     string       `json:"job"`
	Floor   float64      `json:"floor_per_second"`   // median
	Service float64      `json:"service_per_second"` // median
	Ratio   float64      `json:"ratio"`              // median of each round's own
	Lowest  float64      `json:"ratio_lowest"`
	Highest float64      `json:"ratio_highest"`
	Bar     float64      `json:"bar"`
	Rounds  [][2]float64 `json:"rounds"` // floor and service, per second

	FloorP50   float64 `json:"floor_p50_ms,omitempty"`
	FloorP99   float64 `json:"floor_p99_ms,omitempty"`
	ServiceP50 float64 `json:"service_p50_ms,omitempty"`
	ServiceP99 float64 `json:"service_p99_ms,omitempty"`

	FloorCost   cost `json:"floor_cpu_us"` // medians
	ServiceCost cost `json:"service_cpu_us"`

	FloorPeak   float64 `json:"floor_peak_mb,omitempty"`   // the most memory in any round
	ServicePeak float64 `json:"service_peak_mb,omitempty"` // likewise, without the processes for hashes
}

// summarise takes the ratio of each round first: what slows the machine down for a while slows both.
func (r *result) summarise(latencies [2][]time.Duration) {
	var floors, services, ratios []float64
	for _, pair := range r.Rounds {
		floors, services, ratios = append(floors, pair[0]), append(services, pair[1]), append(ratios, pair[1]/pair[0])
	}
	r.Floor, r.Service, r.Ratio = median(floors), median(services), median(ratios)
	r.Lowest, r.Highest = slices.Min(ratios), slices.Max(ratios)
	r.FloorP50, r.FloorP99 = milliseconds(latencies[0], 50), milliseconds(latencies[0], 99)
	r.ServiceP50, r.ServiceP99 = milliseconds(latencies[1], 50), milliseconds(latencies[1], 99)
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// percentile is the least of the sorted values that p percent do not exceed (nearest rank); 0 of none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}
