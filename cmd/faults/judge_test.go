package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func notes(values string) (all []note) {
	for value := range strings.FieldsSeq(values) {
		all = append(all, note{value, 0})
	}
	return all
}

// TestJudgeSeesWhatIsWrong: a judge that never finds anything proves nothing.
func TestJudgeSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		told, found string
		want        [verdicts]int
	}{
		{"a b c", "a b c", [verdicts]int{}},
		{"", "", [verdicts]int{}},
		{"on off on", "on off on", [verdicts]int{}},
		{"a b c", "a c", [verdicts]int{lost: 1}},
		{"a b c", "", [verdicts]int{lost: 3}},
		{"on off on", "on off", [verdicts]int{lost: 1}},
		{"a b c", "a b c b", [verdicts]int{twice: 1}},
		{"on off on", "on off on off on", [verdicts]int{twice: 2}},
		{"a", "a b", [verdicts]int{twice: 1}},
		{"a b c", "a c b", [verdicts]int{disordered: 1}},
		{"a b", "b c", [verdicts]int{lost: 1, twice: 1}},
	} {
		j := &judge{counts: make([][verdicts]int, 1)}
		j.inOrder("somebody", notes(test.told), strings.Fields(test.found))
		require.Equal(t, test.want, j.counts[0], "told %q, found %q", test.told, test.found)
		j = &judge{counts: make([][verdicts]int, 1)}
		j.each("somebody", notes(test.told), strings.Fields(test.found))
		test.want[disordered] = 0
		require.Equal(t, test.want, j.counts[0], "without order: told %q, found %q", test.told, test.found)
	}
}

func TestJudgeSeesGapsInNumbers(t *testing.T) {
	t.Parallel()
	for numbers, want := range map[string][verdicts]int{
		"1 2 3": {}, "2 3": {lost: 1}, "1 3": {lost: 1}, "1 3 2 4": {lost: 1, disordered: 1}, "1 2 2": {disordered: 1},
	} {
		events := []event{{Source: "auth", Subject: "one", Sequence: "0001"}, {Source: "profile", Subject: "two", Sequence: "0001"}} // streams of their own
		for number := range strings.FieldsSeq(numbers) {
			events = append(events, event{Source: "profile", Subject: "one", Sequence: "000" + number})
		}
		j := &judge{counts: make([][verdicts]int, 1)}
		j.numbered("a listener", events, func(time.Time) int { return 0 })
		require.Equal(t, want, j.counts[0], numbers)
	}
}

func TestJudgeHoldsADifferenceAgainstTheFaultThatWasOn(t *testing.T) {
	t.Parallel()
	j := &judge{counts: make([][verdicts]int, 3)}
	j.inOrder("somebody", []note{{"a", 0}, {"b", 1}, {"c", 2}}, []string{"a", "c", "c"})
	require.Equal(t, [][verdicts]int{{}, {lost: 1}, {twice: 1}}, j.counts)
	require.Len(t, j.findings, 2)
}

func TestASeedRepeatsTheOrderAndNobodyLivesThroughTheFirst(t *testing.T) {
	t.Parallel()
	order := func(seed uint64) (names []string) {
		plan, _, err := choose(nil, false, seed)
		require.NoError(t, err)
		for _, f := range plan {
			names = append(names, f.name)
		}
		return names
	}
	seven := order(7)
	require.Equal(t, seven, order(7))
	require.NotEqual(t, seven, order(8))
	for seed := range uint64(20) {
		require.Equal(t, "kill-all", order(seed + 1)[0])
		require.ElementsMatch(t, order(1), order(seed+1), "each once")
	}
	_, _, err := choose([]string{"kill-everything"}, false, 1)
	require.ErrorContains(t, err, `"kill-everything"`)
}

// TestStatesOfPreferencesAlwaysDiffer, so that each change makes an event.
func TestStatesOfPreferencesAlwaysDiffer(t *testing.T) {
	t.Parallel()
	require.Equal(t, preferences{Email: true, Push: true}, state(0), "what a new user has")
	for n := range 40 {
		require.NotEqual(t, state(n), state(n+1))
	}
}
