// Command localstack gives a program private PostgreSQL, Redis and RabbitMQ servers, with nothing but
// what a fresh machine has: their binaries, Docker, or apt-get and root.
//
// URLs that are given in the environment are used as they are and nothing is started for them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
)

type cli struct {
	State string `default:".local" placeholder:"DIR" help:"Folder that keeps ports, passwords and data (default: ${default})."`

	Up     upCommand     `cmd:"" help:"Make the three servers ready and write DIR/env."`
	Run    runCommand    `cmd:"" help:"Make the servers ready, run a command with their URLs, stop what nobody else uses."`
	Down   downCommand   `cmd:"" help:"Stop the servers."`
	Clean  cleanCommand  `cmd:"" help:"Stop the servers and delete their data, ports and passwords."`
	Status statusCommand `cmd:"" help:"Show the servers."`
}

// exitCode is an error that only sets the exit code: all that is to be said has been said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() { os.Exit(run()) }

// run returns the exit code.
func run() int {
	log.SetFlags(0)
	redis.SetLogger(silent{})
	// A reader of our output that goes away must not keep us from stopping the servers.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	var c cli
	parsed := kong.Parse(&c, kong.Name("localstack"),
		kong.Description("Private PostgreSQL, Redis and RabbitMQ servers for development and tests."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	dir, err := filepath.Abs(c.State)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = parsed.Run(&stack{dir: dir, out: newProgress(os.Stderr)})
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled):
		log.Print("localstack: interrupted")
		return 130
	default:
		log.Print("localstack: ", err)
		return 1
	}
}

// silent keeps the Redis client from writing its own messages between ours.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// startFlags belong to the commands that start servers.
type startFlags struct {
	Fast     bool `help:"PostgreSQL does not sync to disk: faster, for tests."`
	NoDocker bool `help:"Do not use Docker for servers that are not installed."`
}

type upCommand struct{ startFlags }

func (upCommand) Help() string {
	return "Example:\n  localstack up && set -a && . .local/env && psql \"$DATABASE_URL\""
}

func (c upCommand) Run(ctx context.Context, s *stack) error {
	v, err := s.acquire(ctx, c.startFlags)
	if err != nil {
		return err
	}
	err = v.writeFile(filepath.Join(s.dir, "env"))
	return errors.Join(err, s.release(true))
}

type downCommand struct{}

func (downCommand) Help() string { return "Example:\n  localstack down" }

func (downCommand) Run(ctx context.Context, s *stack) error { return s.down(ctx) }

type cleanCommand struct{}

func (cleanCommand) Help() string { return "Example:\n  localstack clean --state .local/test" }

func (cleanCommand) Run(ctx context.Context, s *stack) error { return s.clean(ctx) }
