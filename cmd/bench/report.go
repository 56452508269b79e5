package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

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
	Events  *latency `json:"events,omitempty"` // from the commit of a change

	Growth *growth `json:"growth,omitempty"`

	Allocations float64 `json:"get_allocations,omitempty"`
	Inline      float64 `json:"inline_command_us,omitempty"`

	Figures []figure `json:"figures"` // of the above, those that have a ceiling
}

func (r report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d cores for client, servers and what is measured; ratio: median (lowest–highest) of the rounds\n\n", r.Cores)
	r.printJobs(out)
	r.printRequests(out)
	r.printCosts(out)
	r.printFigures(out)
	if s := r.Start; s != nil {
		fmt.Fprintf(out, "\nstart: healthy after %.2f s, %.0f MiB resident when idle (0: the system does not tell)\n", s.Healthy, s.IdleMiB)
	}
	if l := r.Latency; l != nil {
		fmt.Fprintf(out, "\nlatency of push.queue at %d messages/s, from publish to provider: %s\n", l.Rate, l)
	}
	if l := r.Events; l != nil {
		fmt.Fprintf(out, "\nlatency of events at %d/s, from the commit of a change to a consumer: %s\n", l.Rate, l)
	}
	if f := r.Flood; f != nil {
		fmt.Fprintf(out, "\nflood of %.0f logins/s: p99 of a profile %.1f ms instead of %.1f ms (%.1f times), %.0f MiB resident\n",
			f.Logins, f.FloodP99, f.IdleP99, f.Ratio, f.PeakMiB)
	}
	if r.Growth != nil {
		r.Growth.print(out)
	}
}

func newTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
}

func (r report) printJobs(out io.Writer) {
	if len(r.Jobs) == 0 {
		return
	}
	table := newTable(out)
	fmt.Fprintln(table, "job\tfloor/s\tservice/s\tratio\t\tbar\t\t")
	for _, j := range r.Jobs {
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.2f\t(%.2f–%.2f)\t%.2f\t%s\t\n",
			j.Job, j.Floor, j.Service, j.Ratio, j.Lowest, j.Highest, j.Bar, verdict(j.holds()))
	}
	_ = table.Flush()
}

// printRequests has – where a backlog is worked off, or the system does not tell.
func (r report) printRequests(out io.Writer) {
	if len(r.Jobs) == 0 {
		return
	}
	fmt.Fprint(out, "\nms for a request; MB at the most, without the processes for hashes\n\n")
	table := newTable(out)
	fmt.Fprintln(table, "job\tfloor: p50\tp99\tMB\tservice: p50\tp99\tMB\t")
	for _, j := range r.Jobs {
		fmt.Fprint(table, j.Job)
		for _, value := range []float64{j.FloorP50, j.FloorP99, j.FloorPeak, j.ServiceP50, j.ServiceP99, j.ServicePeak} {
			if value > 0 {
				fmt.Fprintf(table, "\t%.1f", value)
			} else {
				fmt.Fprint(table, "\t–")
			}
		}
		fmt.Fprint(table, "\t\n")
	}
	_ = table.Flush()
}

func (r report) printCosts(out io.Writer) {
	if len(r.Jobs) == 0 || len(r.Jobs[0].ServiceCost) == 0 {
		return // there are none, or the system does not tell
	}
	fmt.Fprint(out, "\nµs of processor time for each\n\n")
	table := newTable(out)
	fmt.Fprintln(table, "job\tfloor\tPostgreSQL\tRedis\tRabbitMQ\tservice\tPostgreSQL\tRedis\tRabbitMQ\t")
	for _, j := range r.Jobs {
		fmt.Fprintf(table, "%s\t%s%s\n", j.Job, j.FloorCost.columns(), j.ServiceCost.columns())
	}
	_ = table.Flush()
}

func (r report) printFigures(out io.Writer) {
	if len(r.Figures) == 0 {
		return
	}
	fmt.Fprintln(out)
	table := newTable(out)
	fmt.Fprintln(table, "figure\tmeasured\tat most\t\t\t")
	for _, f := range r.Figures {
		fmt.Fprintf(table, "%s\t%.2f\t%g\t%s\t%s\t\n", f.What, f.Value, f.Ceiling, f.Unit, verdict(f.holds()))
	}
	_ = table.Flush()
}

// String is for the table.
func (l latency) String() string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms (floor: %.1f and %.1f ms; %.1f and %.1f times)",
		l.ServiceP50, l.ServiceP99, l.FloorP50, l.FloorP99, l.RatioP50, l.RatioP99)
}
