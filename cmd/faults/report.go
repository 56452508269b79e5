package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// report is all that was found.
type report struct {
	Taken        time.Time `json:"taken"`
	Seed         uint64    `json:"seed"`
	Cores        int       `json:"cores"`
	Go           string    `json:"go"`
	Quick        bool      `json:"quick,omitempty"`
	Seconds      float64   `json:"seconds"`
	Acknowledged int64     `json:"acknowledged"`
	Events       []int     `json:"events"`     // that each consumer heard
	Again        int       `json:"sent_again"` // messages that reached the provider once more
	Faults       []row     `json:"faults"`
	Processes    []use     `json:"processes"`
	Findings     []string  `json:"findings"`
}

// row is what one fault did.
type row struct {
	Name       string     `json:"name"`
	Lasted     float64    `json:"seconds"`
	Requests   int        `json:"requests"`
	Errors     int        `json:"errors_5xx"`
	Refused    int        `json:"without_answer"`
	P99        [3]float64 `json:"p99_ms"` // before, during, after
	Recovery   float64    `json:"recovery_seconds"`
	Lost       int        `json:"lost"`
	Twice      int        `json:"twice"`
	Disordered int        `json:"out_of_order"`
	Stale      int        `json:"stale"`
	Late       int        `json:"late"`                    // reads that showed a write within the second allowed
	Again      int        `json:"sent_again"`              // messages that reached the provider once more meanwhile
	Calm       []string   `json:"failed_before,omitempty"` // requests in the calm before it
	Broken     []string   `json:"broken,omitempty"`
}

// use is what a process that is still there takes.
type use struct {
	Process          string  `json:"process"`
	GoroutinesBefore int     `json:"goroutines_before"`
	Goroutines       int     `json:"goroutines"`
	MiBBefore        float64 `json:"mib_before"`
	MiB              float64 `json:"mib"`
}

func (u use) leaksGoroutines() bool { return u.Goroutines < 0 || u.Goroutines > u.GoroutinesBefore+5 }
func (u use) leaksMemory() bool     { return u.MiB > 1.5*u.MiBBefore }

func (r *report) found(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

func (r *row) broke(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d faults in %.0f s, %d operations acknowledged (%.0f/s), %v events heard, %d messages sent again\n\n",
		len(r.Faults), r.Seconds, r.Acknowledged, float64(r.Acknowledged)/r.Seconds, r.Events, r.Again)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "fault\tlasted s\trequests\t5xx\tno answer\tp99 before\tduring\tafter ms\tback after s\tlost\ttwice\tdisorder\tstale\tlate\tsent again\t")
	for _, f := range r.Faults {
		fmt.Fprintf(table, "%s\t%.1f\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t\n", f.Name, f.Lasted, f.Requests, f.Errors, f.Refused,
			f.P99[0], f.P99[1], f.P99[2], f.Recovery, f.Lost, f.Twice, f.Disordered, f.Stale, f.Late, f.Again)
	}
	_ = table.Flush()
	fmt.Fprintln(out)
	table = tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "process\tgoroutines at start\tat rest\tMiB before\tMiB after\t")
	for _, p := range r.Processes {
		fmt.Fprintf(table, "%s\t%d\t%d\t%.0f\t%.0f\t\n", p.Process, p.GoroutinesBefore, p.Goroutines, p.MiBBefore, p.MiB)
	}
	_ = table.Flush()
}
