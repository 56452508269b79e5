package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"user-service/platform/logging"
)

type serveCommand struct {
	Only string `enum:"all,api,consumer,relay" default:"all" help:"Serve one part alone: api, consumer or relay."`
}

type consumeCommand struct{}

// Run serves one part.
func (consumeCommand) Run(ctx context.Context) error {
	return serveCommand{Only: "consumer"}.Run(ctx)
}

// heapFloor is memory that nobody touches, so that it takes none of the machine's. The garbage collector counts it as in
// use, and lets garbage gather in proportion: it would go through the 4 MiB that the service keeps ten times a second
// under load. A higher GOGC would do the same, and multiply what a million revocations take as well.
const heapFloor = 3 << 20 // bytes

// databaseConnections of a process: it keeps two cores of PostgreSQL busy with fewer.
const databaseConnections = 20

// Run serves until the process is told to stop.
func (s serveCommand) Run(ctx context.Context) error {
	start := time.Now()
	c, err := checkedConfig()
	if err != nil {
		return err
	}
	c.HashCommand = hashes()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // for a few more MiB a request costs a tenth less
	}
	defer runtime.KeepAlive(make([]byte, heapFloor))
	log := logging.New(os.Stdout, c.LogLevel, c.Debug)
	slog.SetDefault(log) // for what libraries write, net/http for one
	all := s.Only == "all"
	a, err := newApp(ctx, c, databaseConnections, roles{api: all || s.Only == "api", consumer: all || s.Only == "consumer", relay: all || s.Only == "relay"}, log)
	if err != nil {
		return err
	}
	if c.EmailTransport == "log" && !c.Debug {
		a.log.Warn("mails are written to the log, with links that sign in: EMAIL_TRANSPORT=log is for development")
	}
	a.log.Info("serving", "parts", s.Only, "port", c.Port, "metrics_port", c.MetricsPort,
		"version", version, "started_in_ms", time.Since(start).Milliseconds())
	err = a.run(ctx)
	a.log.Info("stopped")
	return err
}

// checkedConfig is the configuration, or one error with a line for each fault.
func checkedConfig() (config, error) {
	c, faults := loadConfig()
	if len(faults) > 0 {
		return c, errors.New(strings.Join(faults, "\nuser-service: "))
	}
	return c, nil
}
