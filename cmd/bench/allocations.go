package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
)

// measureAllocations is how many objects a GET of a profile allocates, by the service's own metrics.
func (w *world) measureAllocations(ctx context.Context, rounds int, scale float64) float64 {
	load := w.reads(w.service, profilePath)
	load(ctx, warmUp)
	var each []float64
	for n := range rounds {
		before := w.allocated(ctx)
		did := load(ctx, scale/2)
		each = append(each, (w.allocated(ctx)-before)/float64(did.done))
		fmt.Printf("allocs round %d of %d  %.1f for each GET of a profile\n", n+1, rounds, each[n])
	}
	return median(each)
}

// allocated is how many objects the service has allocated since it started.
func (w *world) allocated(ctx context.Context) float64 {
	metrics := must(call(ctx, http.MethodGet, "http://"+w.service.metrics+"/metrics", ""))
	_, value, _ := bytes.Cut(metrics, []byte("\ngo_memstats_mallocs_total "))
	value, _, _ = bytes.Cut(value, []byte("\n"))
	return must(strconv.ParseFloat(string(value), 64))
}
