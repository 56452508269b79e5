// Command bench measures the service against floors.
//
// A job is something the service does. Its floor is the least code that could do it, in a process of
// its own as the service is in one. Floor and service are measured in turn, on the same servers and
// by the same client, and what counts is the ratio of the two: it says what the service's promises
// cost, and differs far less from one machine to another than figures per second do.
//
// `make bench` starts private servers and says where they are. The service runs with its
// defaults.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type runCommand struct {
	Quick  bool     `help:"One short round of each job: does it work at all?"`
	Rounds int      `default:"5" help:"Rounds of each job (${default})."`
	Only   []string `enum:"start,get,patch,relay,push,latency,login,flood" default:"start,get,patch,relay,push,latency,login,flood" placeholder:"JOB" help:"Only these of ${enum}."`
	JSON   string   `name:"json" placeholder:"FILE" help:"Write the figures to this file too."`
	Binary string   `type:"path" placeholder:"FILE" help:"Measure this build of the service instead of building one."`
}

func main() {
	var commandLine struct {
		Run   runCommand   `cmd:"" default:"withargs" help:"Measure. Example: bench --only get,patch"`
		Floor floorCommand `cmd:"" hidden:""`
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	command := kong.Parse(&commandLine, kong.Name("bench"), kong.UsageOnError(),
		kong.Description("Measures the service against the least code that could do the same."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := command.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Run measures and prints.
func (c runCommand) Run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			failed, ours := p.(failure)
			if !ours {
				panic(p)
			}
			err = failed
		}
	}()
	scale, rounds := 1.0, max(c.Rounds, 1)
	if c.Quick {
		scale, rounds = 0.3, 1
	}
	r := report{Taken: time.Now().UTC(), Cores: runtime.NumCPU(), Go: runtime.Version(), Quick: c.Quick}
	w := new(world)
	defer w.close()
	w.open(ctx, c.Binary)
	if slices.Contains(c.Only, "start") {
		r.Start = w.measureStart(ctx, rounds, seconds(5, scale))
	}
	w.populate(ctx)
	for _, j := range []struct {
		name string
		make func(*world) job
	}{{"get", get}, {"patch", patch}, {"relay", relay}, {"push", push}, {"login", login}} {
		if slices.Contains(c.Only, j.name) {
			r.Jobs = append(r.Jobs, j.make(w).run(ctx, w, j.name, rounds, scale))
		}
	}
	if slices.Contains(c.Only, "latency") {
		r.Latency = w.measureLatency(ctx, rounds, seconds(10, scale))
	}
	if slices.Contains(c.Only, "flood") {
		r.Flood = w.measureFlood(ctx, rounds, seconds(6, scale))
	}
	r.print(os.Stdout)
	if c.JSON != "" {
		check(os.WriteFile(c.JSON, must(json.MarshalIndent(r, "", "  ")), 0o644))
	}
	return nil
}

// failure ends the run, there being nothing else that a benchmark could do about an error. It is
// thrown, so that the code reads as what is measured; Run catches it when all that was made is gone.
type failure struct{ error }

func check(err error) { throw(err) }

func must[T any](value T, err error) T {
	throw(err)
	return value
}

func throw(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(2)
		panic(failure{fmt.Errorf("%s:%d: %w", filepath.Base(file), line, err)})
	}
}
