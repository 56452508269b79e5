package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedianIsTheMiddle(t *testing.T) {
	t.Parallel()
	values := []float64{9, 1, 5}
	require.InDelta(t, 5, median(values), 0)
	require.Equal(t, []float64{9, 1, 5}, values, "the order of the rounds is kept")
	require.InDelta(t, 3, median([]float64{1, 9, 4, 2}), 0)
	require.InDelta(t, 7, median([]float64{7}), 0)
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for n := range 100 {
		hundred = append(hundred, time.Duration(n+1))
	}
	for p, want := range map[int]time.Duration{0: 1, 1: 1, 50: 50, 99: 99, 100: 100} {
		require.Equal(t, want, percentile(hundred, p), "p%d", p)
	}
	require.Equal(t, time.Duration(2), percentile(hundred[:3], 50))
	require.Equal(t, time.Duration(3), percentile(hundred[:3], 99))
	require.Zero(t, percentile(nil, 50))
}

func TestRatioIsTheMedianOfEachRoundsOwn(t *testing.T) {
	t.Parallel()
	r := result{Rounds: [][2]float64{{100, 80}, {50, 45}, {10, 7}}} // the machine got slower, and both with it
	r.summarise([2][]time.Duration{{time.Millisecond}, {3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}})
	require.InDelta(t, 0.8, r.Ratio, 1e-9)
	require.InDelta(t, 0.7, r.Lowest, 1e-9)
	require.InDelta(t, 0.9, r.Highest, 1e-9)
	require.InDelta(t, 50, r.Floor, 1e-9)
	require.InDelta(t, 45, r.Service, 1e-9)
	require.InDelta(t, 1, r.FloorP50, 1e-9)
	require.InDelta(t, 1, r.FloorP99, 1e-9)
	require.InDelta(t, 2, r.ServiceP50, 1e-9)
	require.InDelta(t, 3, r.ServiceP99, 1e-9)
}
