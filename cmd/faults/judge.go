package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// verdict is what became of a promise.
type verdict int

const (
	lost verdict = iota
	twice
	disordered
	verdicts
)

func (v verdict) String() string { return [...]string{"lost", "done twice", "out of order"}[v] }

// judge compares what clients were told with what is found, and holds each difference against the fault
// that was on.
type judge struct {
	counts   [][verdicts]int // by fault
	findings []string
}

// enough of one kind is told; the figures count all.
const enough = 15

func (j *judge) find(v verdict, during int, format string, args ...any) {
	j.counts[during][v]++
	total := 0
	for _, counts := range j.counts {
		total += counts[v]
	}
	if total <= enough {
		j.findings = append(j.findings, v.String()+": "+fmt.Sprintf(format, args...))
	}
}

// inOrder compares what was acknowledged, in order, with what was found.
func (j *judge) inOrder(whose string, told []note, found []string) {
	left := map[string]int{}
	for _, value := range found {
		left[value]++
	}
	same := true
	last := 0
	for _, n := range told {
		last = n.during
		if left[n.value]--; left[n.value] < 0 {
			same = false
			j.find(lost, n.during, "%s: %q was acknowledged, and is not found", whose, n.value)
		}
	}
	for _, value := range found {
		if left[value] > 0 {
			left[value]--
			same = false
			during := last
			if i := slices.IndexFunc(told, func(n note) bool { return n.value == value }); i >= 0 {
				during = told[i].during
			}
			j.find(twice, during, "%s: %q is found more often than it was acknowledged", whose, value)
		}
	}
	if !same {
		return // what is in order is hard to say
	}
	for i, n := range told {
		if found[i] != n.value {
			j.find(disordered, n.during, "%s: %q is found where %q was acknowledged", whose, found[i], n.value)
			return
		}
	}
}

// numbered wants the sequence of each user and source to begin with 1 and have no gap, and gives the last
// number of each.
func (j *judge) numbered(listener string, events []event, during func(time.Time) int) (last map[string]int) {
	last = map[string]int{}
	for _, e := range events {
		stream := e.Source + " " + e.Subject
		switch n := e.number(); {
		case n == last[stream]+1:
		case n <= last[stream]:
			j.find(disordered, during(e.Time), "%s: number %d of %s came after number %d", listener, n, stream, last[stream])
		default:
			j.find(lost, during(e.Time), "%s: number %d of %s came after number %d", listener, n, stream, last[stream])
		}
		last[stream] = max(last[stream], e.number())
	}
	return last
}

// counted wants exactly so many.
func (j *judge) counted(what string, during, told, found int) {
	if found < told {
		j.find(lost, during, "%s: %d were acknowledged, %d are found", what, told, found)
	}
	if found > told {
		j.find(twice, during, "%s: %d were acknowledged, %d are found", what, told, found)
	}
}

// each compares what has no order.
func (j *judge) each(whose string, told []note, found []string) {
	byValue := func(a, b note) int { return cmp.Compare(a.value, b.value) }
	j.inOrder(whose, slices.SortedFunc(slices.Values(told), byValue), slices.Sorted(slices.Values(found)))
}
