package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

type profileCommand struct {
	Dir     string        `type:"path" default:".local/profile" placeholder:"DIR" help:"Where the profiles go (.local/profile)."`
	For     time.Duration `default:"10s" help:"How long each load is watched (${default})."`
	Binary  string        `type:"path" placeholder:"FILE" help:"Profile this build of the service instead of building one."`
	Entries int           `default:"15" help:"How many entries of each profile are shown (${default})."`
}

// Validate implements kong's interface.
func (c profileCommand) Validate() error {
	if c.For < time.Second {
		return errors.New("--for: at least 1s, as the service counts in seconds")
	}
	return nil
}

// profiled is the service's setting.
const profiled = "PPROF=true"

// Run watches the service under four loads, and prints what took the most.
func (c profileCommand) Run(ctx context.Context) (err error) {
	defer catch(&err)
	w := new(world)
	defer w.close()
	w.open(ctx, c.Binary)
	w.populate(ctx)
	w.restartService(ctx, profiled)
	check(os.MkdirAll(c.Dir, 0o755))
	for _, load := range []struct {
		name string
		job  job
	}{{"get", get(ctx, w)}, {"patch", patch(ctx, w)}, {"push", push(ctx, w)}, {"slow", slowPush(ctx, w)}} {
		fmt.Println("watching", load.name)
		if load.job.settings != nil {
			w.restartService(ctx, append(load.job.settings, profiled)...)
		}
		w.settle(ctx)
		load.job.service(ctx, warmUp)
		for _, file := range c.watch(ctx, w, load.name, load.job.service) {
			c.print(ctx, file)
		}
	}
	fmt.Println("\nTo look closer: go tool pprof -http :8080 FILE")
	return nil
}

// watch takes every kind of profile at once, while the load goes on.
func (c profileCommand) watch(ctx context.Context, w *world, name string, load side) (files []string) {
	var all errgroup.Group
	for _, kind := range []struct{ name, path string }{{"cpu", "profile"}, {"allocs", "allocs"}, {"mutex", "mutex"}} {
		file := filepath.Join(c.Dir, name+"-"+kind.name+".pprof")
		files = append(files, file)
		all.Go(func() error {
			address := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%.0f", w.service.metrics, kind.path, c.For.Seconds())
			profile, err := call(ctx, http.MethodGet, address, "")
			if err != nil {
				return err
			}
			return os.WriteFile(file, profile, 0o644)
		})
	}
	for begin := time.Now(); time.Since(begin) < c.For; {
		load(ctx, 1)
	}
	check(all.Wait())
	return files
}

// print shows the entries that took the most. Allocations are counted, as each costs about the same.
func (c profileCommand) print(ctx context.Context, file string) {
	args := []string{"tool", "pprof", "-top", "-nodecount=" + strconv.Itoa(c.Entries)}
	if strings.HasSuffix(file, "-allocs.pprof") {
		args = append(args, "-sample_index=alloc_objects")
	}
	fmt.Println("\n" + file)
	top := exec.CommandContext(ctx, "go", append(args, file)...)
	top.Stdout, top.Stderr = os.Stdout, os.Stderr
	check(top.Run())
}
