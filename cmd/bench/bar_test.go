package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShortRunFailsOnlyFarBelowABar(t *testing.T) {
	t.Parallel()
	r := report{Jobs: []result{{Job: "GET profile", Ratio: 0.5, Bar: 0.85}}, Figures: []figure{{What: "start", Value: 9, Ceiling: 0.5}}}
	require.NoError(t, r.farBelow(), "a bar missed by less than half, and a ceiling")
	r.Jobs = append(r.Jobs, result{Job: "relay", Ratio: 0.3, Bar: 0.8})
	require.EqualError(t, r.farBelow(), "relay: a ratio of 0.30 is less than half its bar, 0.80")
}

func TestTableSaysWhichBarsHold(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := report{
		Jobs:  []result{{Job: "login", Ratio: 0.95, Bar: 0.9}, {Job: "relay", Ratio: 0.7, Bar: 0.8, ServicePeak: 61}},
		Start: &start{Healthy: 0.3},
	}
	r.Figures = r.figures()
	r.print(&out)
	for job, verdict := range map[string]string{"login": "holds", "relay": "MISSED", "start": "holds", "memory": "MISSED"} {
		_, line, _ := strings.Cut(out.String(), job)
		line, _, _ = strings.Cut(line, "\n")
		require.Contains(t, line, verdict, job)
	}
}

func TestEverySizeAndTheRelayHaveTheirBars(t *testing.T) {
	t.Parallel()
	slower := durations{cached: 1.4}
	g := growth{
		Sizes: []grown{{Users: 1}, {Users: 2, Times: slower}, {Users: 3, P99: durations{searched: 51}}},
		Relay: grownBacklog{Rows: 4, Floor: 130, Rate: 100, PeakMiB: 60},
	}
	var missed []string
	for _, f := range g.figures() {
		if !f.holds() {
			missed = append(missed, f.What)
		}
	}
	require.Equal(t, []string{
		"GET profile with 2 users: p99, of that with the fewest", "search of users with 3 users: p99",
		"relay with 4 rows waiting: rate of the floor, of its own", "relay with 4 rows waiting: memory",
	}, missed)
}

func TestOnlyWhatWasMeasuredIsAFigure(t *testing.T) {
	t.Parallel()
	require.Empty(t, report{Jobs: []result{{Job: "login"}}}.figures())
}
