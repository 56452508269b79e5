package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// command is one process of a server.
type command struct {
	path string
	args []string
	env  []string // added to a minimal environment
}

// launch writes what the server needs, runs it and waits until it answers. On failure nothing is left running.
func (i *Instance) launch(ctx context.Context) (err error) {
	i.describe()
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := i.save(); err != nil {
		return err
	}
	i.report("starting")
	if err := i.kind.prepare(ctx, i); err != nil {
		return fmt.Errorf("prepare %s: %w", i.kind.Name, err)
	}
	_ = os.Rename(i.logPath(), i.logPath()+".old")
	for _, c := range i.kind.commands(i) {
		if err := i.spawn(c); err != nil {
			return fmt.Errorf("start %s: %w", i.kind.Name, err)
		}
	}
	if err := i.ready(ctx, 2*time.Minute); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("start %s: %w; last lines of %s:\n%s", i.kind.Name, err, i.logPath(), tail(i.logPath(), 8))
	}
	return nil
}

func (i *Instance) logPath() string { return filepath.Join(i.dir, "log") }

// heldBack makes a shell wait for a line before it becomes the command that follows. At the end of its
// input it just goes.
var heldBack = []string{"-c", `read -r go && exec "$@" </dev/null`, "sh"}

// spawn runs a command as a session of its own, held back until its process id is on record: a caller
// that dies in between leaves nothing behind.
func (i *Instance) spawn(c command) error {
	log, err := os.OpenFile(i.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	wait, release, err := os.Pipe()
	if err != nil {
		return err
	}
	defer release.Close()
	defer wait.Close()

	cmd := exec.Command("/bin/sh", slices.Concat(heldBack, []string{c.path}, c.args)...)
	cmd.Dir, cmd.Env = i.data(), i.environment(c.env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = wait, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: i.account()}
	if err := withoutInherited(cmd.Start); err != nil {
		return err
	}
	i.rec.Last = identify(cmd.Process.Pid)
	i.rec.Processes = append(i.rec.Processes, i.rec.Last)
	go func() { _ = cmd.Wait() }() // reaps it
	if err := i.save(); err != nil {
		return err
	}
	_, err = release.WriteString("go\n")
	return err
}

// run executes a short command of the server's package to its end, under the server's account.
func (i *Instance) run(ctx context.Context, c command) error {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir, cmd.Env = i.data(), i.environment(c.env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: i.account()}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.path), cmp.Or(ctx.Err(), err), out)
	}
	return nil
}

// environment keeps the caller's variables away from the server: some of them would configure it.
func (i *Instance) environment(added []string) []string {
	return append([]string{"PATH=" + searchPath(), "HOME=" + i.data(), "LC_ALL=C.UTF-8"}, added...)
}

var inheritedMu sync.Mutex

// withoutInherited calls start while descriptors that the calling process itself inherited are marked
// not to be inherited further. A server would hold its caller's locks and pipes for ever.
func withoutInherited(start func() error) error {
	inheritedMu.Lock()
	defer inheritedMu.Unlock()
	entries, _ := os.ReadDir("/dev/fd")
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 {
			continue
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno == 0 && flags&syscall.FD_CLOEXEC == 0 {
			syscall.CloseOnExec(fd)
			defer func() { _, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0) }()
		}
	}
	return start()
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
