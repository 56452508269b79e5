// Command faults proves that nothing acknowledged is lost or done twice.
//
// It starts private servers, puts a proxy before each, and runs the service as several processes.
// Simulated users ask for changes and keep a ledger of what they were told; producers publish push
// messages and keep those that were confirmed. Meanwhile one fault after another is made and mended, in
// a random order that its seed repeats. When all has come to rest, what was acknowledged is compared
// with the database, with the events that consumers in other processes received, and with what the
// device provider was sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Only   []string `placeholder:"NAME" help:"Only these faults, in a random order too. --list names them."`
	List   bool     `help:"List the faults and end."`
	Quick  bool     `help:"The most telling faults only, each short: three minutes at the most."`
	Seed   uint64   `help:"Repeat the order of another run (${default}: a new one)." default:"0"`
	JSON   string   `name:"json" placeholder:"FILE" help:"Write the figures to this file too."`
	State  string   `type:"path" default:".local/faults" placeholder:"DIR" help:"Folder of the servers and of what the processes say (${default})."`
	Binary string   `type:"path" placeholder:"FILE" help:"Try this build of the service instead of building one."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var o options
	kong.Parse(&o, kong.Name("faults"), kong.UsageOnError(),
		kong.Description("Makes faults under load, and proves that nothing acknowledged is lost or done twice."))
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

var errFound = errors.New("the service broke its promises, see above")

// run makes the faults and judges.
func (o options) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			failed, ours := p.(failure)
			if !ours {
				panic(p)
			}
			err = failed
		}
	}()
	plan, seed, err := choose(o.Only, o.Quick, o.Seed)
	if err != nil {
		return err
	}
	if o.List {
		for _, f := range plan {
			fmt.Printf("%-22s %s\n", f.name, f.what)
		}
		return nil
	}
	fmt.Printf("%d faults, seed %d: repeat the order by --seed %d\n", len(plan), seed, seed)
	w := newWorld(o.State, o.Quick, seed)
	defer w.close()
	w.open(ctx, o.Binary)
	r := w.try(ctx, plan)
	r.Taken, r.Seed, r.Cores, r.Go, r.Quick = time.Now().UTC(), seed, runtime.NumCPU(), runtime.Version(), o.Quick
	r.print(os.Stdout)
	if o.JSON != "" {
		check(os.WriteFile(o.JSON, must(json.MarshalIndent(r, "", "  ")), 0o644))
	}
	if len(r.Findings) > 0 {
		fmt.Printf("\n%s\n\nwhat the processes said is in %s\n", strings.Join(r.Findings, "\n"), w.dir)
		return errFound
	}
	return nil
}

// failure ends the run. It is thrown, so that the code reads as what is tried; run catches it when all
// that was made is gone.
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

// await asks until it is so, for no longer than limit.
func await(ctx context.Context, limit time.Duration, what string, so func() bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("did not come about within %s: %s", limit, what))
	defer cancel()
	if !until(ctx, so) {
		check(context.Cause(ctx))
	}
}

// pause lets time pass, where it is time that matters and no condition.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
