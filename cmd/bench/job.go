package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// job is one thing to measure, done by two programs.
type job struct {
	what           string // for the table
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

// warmUp fills pools, caches and prepared statements, and is not counted.
const warmUp = 0.15

// run alternates floor and service, so that whatever else the machine does meanwhile meets both.
func (j job) run(ctx context.Context, w *world, name string, rounds int, scale float64) result {
	r := result{Job: j.what}
	var latencies []time.Duration
	for _, side := range []side{j.floor, j.service} {
		w.settle(ctx)
		side(ctx, warmUp)
	}
	for n := range rounds {
		var pair [2]float64
		for i, side := range []side{j.floor, j.service} {
			w.settle(ctx)
			did := side(ctx, scale)
			pair[i] = float64(did.done) / did.took.Seconds()
			fmt.Printf("%-6s round %d of %d  %-8s %8.0f/s %6.1f s\n", name, n+1, rounds, [2]string{"floor", "service"}[i], pair[i], did.took.Seconds())
			if i == 1 {
				latencies = append(latencies, did.latencies...)
			}
		}
		r.Rounds = append(r.Rounds, pair)
	}
	r.summarise(latencies)
	return r
}

// report is all that was measured.
type report struct {
	Taken time.Time `json:"taken"`
	Cores int       `json:"cores"`
	Go    string    `json:"go"`
	Quick bool      `json:"quick,omitempty"`
	Jobs  []result  `json:"jobs"`
	Start *start    `json:"start,omitempty"`
	Flood *flood    `json:"flood,omitempty"`

	Latency *latency `json:"latency,omitempty"`
}

// result is what the rounds of one job gave.
type result struct {
	Job     string       `json:"job"`
	Floor   float64      `json:"floor_per_second"`   // median
	Service float64      `json:"service_per_second"` // median
	Ratio   float64      `json:"ratio"`              // median of each round's own
	Lowest  float64      `json:"ratio_lowest"`
	Highest float64      `json:"ratio_highest"`
	P50     float64      `json:"service_p50_ms,omitempty"`
	P99     float64      `json:"service_p99_ms,omitempty"`
	Rounds  [][2]float64 `json:"rounds"` // floor and service, per second
}

// summarise takes the ratio of each round first: what slows the machine down for a while slows both.
func (r *result) summarise(latencies []time.Duration) {
	var floors, services, ratios []float64
	for _, pair := range r.Rounds {
		floors, services, ratios = append(floors, pair[0]), append(services, pair[1]), append(ratios, pair[1]/pair[0])
	}
	r.Floor, r.Service, r.Ratio = median(floors), median(services), median(ratios)
	r.Lowest, r.Highest = slices.Min(ratios), slices.Max(ratios)
	slices.Sort(latencies)
	r.P50, r.P99 = percentile(latencies, 50).Seconds()*1000, percentile(latencies, 99).Seconds()*1000
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

func (r report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d cores for client, servers and what is measured; ratio: median (lowest–highest) of the rounds\n\n", r.Cores)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "job\tfloor/s\tservice/s\tratio\t\tp50 ms\tp99 ms\t")
	for _, j := range r.Jobs {
		latency := "–\t–"
		if j.P99 > 0 {
			latency = fmt.Sprintf("%.1f\t%.1f", j.P50, j.P99)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.2f\t(%.2f–%.2f)\t%s\t\n", j.Job, j.Floor, j.Service, j.Ratio, j.Lowest, j.Highest, latency)
	}
	_ = table.Flush()
	if r.Start != nil {
		fmt.Fprintf(out, "\nstart: healthy after %.2f s, %.0f MiB resident when idle (0: the system does not tell)\n", r.Start.Healthy, r.Start.IdleMiB)
	}
	if l := r.Latency; l != nil {
		fmt.Fprintf(out, "\nlatency of push.queue at %d messages/s, from publish to provider: p50 %.1f ms, p99 %.1f ms (floor: %.1f and %.1f ms; p99 %.1f times)\n",
			l.Rate, l.ServiceP50, l.ServiceP99, l.FloorP50, l.FloorP99, l.Ratio)
	}
	if f := r.Flood; f != nil {
		fmt.Fprintf(out, "\nflood of %.0f logins/s: p99 of a profile %.1f ms instead of %.1f ms (%.1f times), %.0f MiB resident\n",
			f.Logins, f.FloodP99, f.IdleP99, f.Ratio, f.PeakMiB)
	}
}
