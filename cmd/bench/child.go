package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process under measurement.
type child struct {
	address string
	metrics string // of the service: where its operators look
	cmd     *exec.Cmd
	stdin   io.Closer
	ended   chan struct{}
}

// spawn starts a program that gets no more of our environment than it needs. Its output goes to a
// file, which costs it about what a pipe to a container engine would.
func (w *world) spawn(port int, path string, args, env []string) *child {
	c := &child{address: fmt.Sprintf("127.0.0.1:%d", port), cmd: exec.Command(path, args...), ended: make(chan struct{})}
	output := must(os.Create(filepath.Join(w.dir, args[0]+".log")))
	c.cmd.Dir, c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = w.dir, slices.Concat(w.env, env), output, output
	c.stdin = must(c.cmd.StdinPipe())
	check(c.cmd.Start())
	go func() {
		_ = c.cmd.Wait()
		_ = output.Close()
		close(c.ended)
	}()
	return c
}

// check ends the run if the child has ended, with its last words.
func (c *child) check() {
	select {
	case <-c.ended:
		said, _ := os.ReadFile(filepath.Join(c.cmd.Dir, c.cmd.Args[1]+".log"))
		check(fmt.Errorf("%s ended: %s", c.cmd.Path, said[max(0, len(said)-2000):]))
	default:
	}
}

// stop asks for an orderly end, and insists after a while.
func (c *child) stop() {
	if c == nil {
		return
	}
	_ = c.stdin.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// resident is the memory in use, in MiB; 0 where the system does not tell it by /proc.
func (c *child) resident() float64 { return memoryOf(c.cmd.Process.Pid, "VmRSS") }

// peak is the most memory that was in use since forgetPeak, or the start, likewise.
func (c *child) peak() float64 { return memoryOf(c.cmd.Process.Pid, "VmHWM") }

// forgetPeak has the kernel count from now on, see clear_refs in proc(5).
func (c *child) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.cmd.Process.Pid), []byte("5"), 0)
}

// peakOfAll is the peak of the process and of those it started.
func (c *child) peakOfAll() float64 {
	total := c.peak()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.cmd.Process.Pid))
	for _, thread := range threads {
		children, _ := os.ReadFile(thread)
		for pid := range strings.FieldsSeq(string(children)) {
			if id, err := strconv.Atoi(pid); err == nil {
				total += memoryOf(id, "VmHWM")
			}
		}
	}
	return total
}

func memoryOf(pid int, figure string) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), figure+":")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.ParseFloat(kib, 64)
	return n / 1024
}

// freePort is below the ports that systems give to outgoing connections, of which there will be many.
func freePort(ctx context.Context) int {
	for {
		check(ctx.Err())
		port := 20000 + rand.IntN(12000)
		if l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
}

func seconds(n, scale float64) time.Duration { return time.Duration(n * scale * float64(time.Second)) }

// await asks until it is so, for a minute at the most.
func await(ctx context.Context, what string, every time.Duration, so func() bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("did not come about within a minute: %s", what))
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			check(context.Cause(ctx))
		case <-time.After(every):
		}
	}
}
