package main

import "fmt"

// figure is something that has a ceiling, and no floor to be compared with.
type figure struct {
	What    string  `json:"what"`
	Value   float64 `json:"value"`
	Ceiling float64 `json:"ceiling"`
	Unit    string  `json:"unit"`
}

const memoryCeiling = 60 // MB

// verdict says whether a bar holds.
func verdict(holds bool) string {
	if holds {
		return "holds"
	}
	return "MISSED"
}

func (f figure) holds() bool { return f.Value <= f.Ceiling }

func (r *result) holds() bool { return r.Ratio >= r.Bar }

// farBelow names the jobs whose ratio is not even half its bar. A short round says no more than that,
// and says it on any machine; ceilings depend on the machine.
func (r report) farBelow() error {
	for _, j := range r.Jobs {
		if j.Ratio < j.Bar/2 {
			return fmt.Errorf("%s: a ratio of %.2f is less than half its bar, %.2f", j.Job, j.Ratio, j.Bar)
		}
	}
	return nil
}

// figures are all that has a ceiling.
func (r report) figures() (all []figure) {
	if s := r.Start; s != nil {
		all = append(all, figure{"start: healthy after", s.Healthy, 0.5, "s"})
	}
	if e := r.Events; e != nil {
		all = append(all,
			figure{fmt.Sprintf("commit of a change to its event received, %d/s: p50, of the floor's", e.Rate), e.RatioP50, 1.5, "times"},
			figure{"the same: p99", e.ServiceP99, 10, "ms"})
	}
	if r.Inline > 0 {
		all = append(all, figure{"inline command", r.Inline, 5, "µs"})
	}
	if r.Allocations > 0 {
		all = append(all, figure{"GET profile: allocations", r.Allocations, 60, "each"})
	}
	if r.Growth != nil {
		all = append(all, r.Growth.figures()...)
	}
	if most := r.peak(); most > 0 {
		all = append(all, figure{"memory under load, but for hashes", most, memoryCeiling, "MB"})
	}
	return all
}

// peak is the most memory of any job; 0 if the system does not tell.
func (r report) peak() (most float64) {
	for _, j := range r.Jobs {
		most = max(most, j.ServicePeak)
	}
	return most
}
