// Command bench measures the service against floors.
//
// A job is something the service does. Its floor is the least code that could do it, in a process of
// its own as the service is in one. Floor and service are measured in turn, on the same servers and
// by the same client, and what counts is the ratio of the two: it says what the service's promises
// cost, and differs far less from one machine to another than figures per second do. Its bar is the
// least ratio that will do. What no floor can be thought of for has a ceiling instead.
//
// `make bench` starts private servers and says where they are. The service runs with its
// defaults, but that one client may ask as often as it likes (RATE_LIMIT=off), and for a job that
// needs another provider. `bench profile` says where its time goes, and `bench seed` makes users by
// the million.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	Only   []string `enum:"${jobs},growth" default:"${jobs}" placeholder:"JOB" help:"Only these of ${enum}; growth, with a million users, takes minutes, and is left out otherwise."`
	JSON   string   `name:"json" type:"path" placeholder:"FILE" help:"Where the figures are written too (.local/bench.json, or .local/bench-quick.json)."`
	SVG    string   `name:"svg" type:"path" placeholder:"FILE" help:"Draw the ratios into this file too."`
	Binary string   `type:"path" placeholder:"FILE" help:"Measure this build of the service instead of building one."`
}

func main() {
	var commandLine struct {
		Run     runCommand     `cmd:"" default:"withargs" help:"Measure. Example: bench --only get,patch"`
		Profile profileCommand `cmd:"" help:"Take profiles of the service under load."`
		Seed    seedCommand    `cmd:"" help:"Make many users in a database."`
		Floor   floorCommand   `cmd:"" hidden:""`
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	command := kong.Parse(&commandLine, kong.Name("bench"), kong.UsageOnError(),
		kong.Description("Measures the service against the least code that could do the same."),
		kong.Vars{"jobs": "start,get,preferences,patch,relay,push,slow,login,register,events,latency,flood,allocs,inline"},
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := command.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Validate implements kong's interface.
func (c runCommand) Validate() error {
	if c.Rounds < 1 {
		return errors.New("--rounds: at least 1")
	}
	return nil
}

// file is where the figures are written: those of one short round not over those of a whole run.
func (c runCommand) file() string {
	if c.Quick {
		return cmp.Or(c.JSON, ".local/bench-quick.json")
	}
	return cmp.Or(c.JSON, ".local/bench.json")
}

// Run measures and prints.
func (c runCommand) Run(ctx context.Context) (err error) {
	defer catch(&err)
	w := new(world)
	defer w.close()
	w.open(ctx, c.Binary)
	r := c.measure(ctx, w)
	r.Figures = r.figures()
	r.print(os.Stdout)
	check(os.MkdirAll(filepath.Dir(c.file()), 0o755))
	check(os.WriteFile(c.file(), must(json.MarshalIndent(r, "", "  ")), 0o644))
	if c.SVG != "" {
		var picture bytes.Buffer
		check(r.draw(&picture))
		check(os.WriteFile(c.SVG, picture.Bytes(), 0o644))
	}
	if c.Quick {
		return r.farBelow()
	}
	return nil
}

func (c runCommand) measure(ctx context.Context, w *world) report {
	scale, rounds := 1.0, c.Rounds
	if c.Quick {
		scale, rounds = 0.3, 1
	}
	r := report{Taken: time.Now().UTC(), Cores: runtime.NumCPU(), Go: runtime.Version(), Quick: c.Quick}
	if c.wants("events") {
		w.requireCommitTimes(ctx)
	}
	if c.wants("start") {
		r.Start = w.measureStart(ctx, rounds, seconds(5, scale))
	}
	w.populate(ctx)
	for _, j := range jobs {
		if c.wants(j.name) {
			r.Jobs = append(r.Jobs, j.make(ctx, w).run(ctx, w, j.name, rounds, scale))
		}
	}
	if c.wants("events") {
		r.Events = w.measureEvents(ctx, rounds, seconds(10, scale))
	}
	if c.wants("latency") {
		r.Latency = w.measureLatency(ctx, rounds, seconds(10, scale))
	}
	if c.wants("flood") {
		r.Flood = w.measureFlood(ctx, rounds, seconds(6, scale))
	}
	if c.wants("allocs") {
		r.Allocations = w.measureAllocations(ctx, rounds, scale)
	}
	if c.wants("inline") {
		r.Inline = measureInline(ctx, rounds)
	}
	if c.wants("growth") {
		r.Growth = w.measureGrowth(ctx, c.Quick, 2*rounds, seconds(3, scale))
	}
	return r
}

func (c runCommand) wants(job string) bool { return slices.Contains(c.Only, job) }

// jobs are those that have a floor to be compared with, by their names on the command line.
var jobs = []struct {
	name string
	make func(context.Context, *world) job
}{
	{"get", get}, {"preferences", preferences}, {"patch", patch}, {"relay", relay}, {"push", push}, {"slow", slowPush},
	{"login", login}, {"register", register},
}

// failure ends the run, there being nothing else that a benchmark could do about an error. It is
// thrown, so that the code reads as what is measured; catch catches it when all that was made is gone.
type failure struct{ error }

// catch is deferred by what is to give a failure as its error.
func catch(err *error) {
	if p := recover(); p != nil {
		failed, ours := p.(failure)
		if !ours {
			panic(p)
		}
		*err = failed
	}
}

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
