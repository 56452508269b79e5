package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

type runCommand struct {
	startFlags
	NoEnvFile bool     `help:"Do not write DIR/env."`
	LastWord  bool     `help:"Leave the last word to the command: say nothing of the stop that follows."`
	Command   []string `arg:"" passthrough:"" help:"Command and its arguments, after --."`
}

func (runCommand) Help() string {
	return `The command gets DATABASE_URL, REDIS_URL, RABBITMQ_URL, RABBITMQ_MANAGEMENT_URL, PORT and SECRET_KEY;
what the environment says already is left as it is. The exit code is the command's.

Example:
  localstack run -- go test ./...`
}

func (c runCommand) Run(ctx context.Context, s *stack) error {
	// Registered before the servers start, so that no signal between their start and the command's is lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	v, err := s.acquire(ctx, c.startFlags)
	if err != nil {
		return err
	}
	if !c.NoEnvFile {
		err = v.writeFile(filepath.Join(s.dir, "env"))
	}
	if err == nil && ctx.Err() == nil {
		err = runChild(c.arguments(), v.environ(), signals)
	}
	if c.LastWord {
		s.out.w = io.Discard
	}
	if failed := s.release(false); failed != nil {
		log.Print("localstack: stop the servers: ", failed)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// arguments are without the "--" that separates them from ours.
func (c runCommand) arguments() []string {
	if len(c.Command) > 1 && c.Command[0] == "--" {
		return c.Command[1:]
	}
	return c.Command
}

// runChild runs a command to its end, passes signals on to it, and returns its exit code as an exitCode.
func runChild(args, env []string, signals <-chan os.Signal) error {
	child := exec.Command(args[0], args[1:]...)
	child.Env = env
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	terminal := onTerminal()
	child.SysProcAttr = childAttributes(terminal)
	if err := child.Start(); err != nil {
		log.Print("localstack: ", err)
		if errors.Is(err, exec.ErrNotFound) {
			return exitCode(127)
		}
		return exitCode(126)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = child.Wait() // its exit code says all
	}()
	for {
		select {
		case sig := <-signals:
			// A terminal sends Ctrl-C to the command as well.
			if terminal && sig == syscall.SIGINT {
				terminal = false // a second one is passed on, should the first have been meant for us only
				continue
			}
			_ = child.Process.Signal(sig)
		case <-ended:
			if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return exitCode(128 + int(status.Signal()))
			}
			return exitCode(child.ProcessState.ExitCode())
		}
	}
}
