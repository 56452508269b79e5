package servers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process names a process for as long as the machine runs: a process id alone may be given to another.
type Process struct {
	PID     int    `json:"pid"`
	Started string `json:"started"`
}

// Self is the calling process.
func Self() Process { return identify(os.Getpid()) }

// identify returns the process with an id, or one that is never alive if there is none.
func identify(pid int) Process {
	s, _ := lookUp(pid)
	return Process{PID: pid, Started: s.started}
}

// Alive tells whether the very process still runs. A zombie does not.
func (p Process) Alive() bool {
	s, ok := lookUp(p.PID)
	return ok && !s.zombie && s.started == p.Started
}

// recycled tells whether the process ended and another one has its id.
func (p Process) recycled() bool {
	s, ok := lookUp(p.PID)
	return ok && s.started != p.Started
}

// stop asks the process to end until it does, since a server that is just starting may drop a signal.
// When the context is done it is killed.
func (p Process) stop(ctx context.Context, sig syscall.Signal) {
	for p.Alive() {
		p.signal(sig)
		for again := time.Now().Add(time.Second); p.Alive() && time.Now().Before(again); {
			if ctx.Err() != nil {
				p.killTree()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// killTree kills the process and its descendants and waits until they are gone.
func (p Process) killTree() {
	if !p.Alive() {
		return
	}
	tree := []Process{p}
	for n := 0; n < len(tree); n++ {
		tree = append(tree, children(tree[n].PID)...)
	}
	for _, q := range tree {
		for q.Alive() {
			q.signal(syscall.SIGKILL)
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (p Process) signal(sig syscall.Signal) {
	if p.PID > 1 && p.Alive() {
		_ = syscall.Kill(p.PID, sig) // gone in the meantime is as good
	}
}

type stat struct {
	started string
	parent  int
	zombie  bool
}

// lookUp reads what the system knows of a process: from /proc, or from ps where there is none.
func lookUp(pid int) (stat, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		if bootID == "" {
			return lookUpWithPS(pid)
		}
		return stat{}, false
	}
	// The name in parentheses may contain anything; fields are counted behind it, the state first.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 20 {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	threads, _ := strconv.Atoi(f[17])
	// The main thread may be a zombie while others still end, with the ports open.
	zombie := (f[0] == "Z" || f[0] == "X") && threads <= 1
	return stat{started: bootID + "/" + f[19], parent: parent, zombie: zombie}, true
}

// bootID tells apart equal start times, which are counted from the start of the machine.
var bootID = func() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id, _, _ := strings.Cut(string(text), "-")
	return id
}()

func lookUpWithPS(pid int) (stat, bool) {
	out, err := exec.Command("ps", "-o", "ppid=,stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	f := strings.Fields(string(out))
	if err != nil || len(f) < 3 {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(f[0])
	return stat{started: strings.Join(f[2:], " "), parent: parent, zombie: f[1][0] == 'Z'}, true
}

// children finds the child processes of a process, where there is a /proc.
func children(pid int) (found []Process) {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		child, _ := strconv.Atoi(filepath.Base(entry))
		if s, ok := lookUp(child); ok && s.parent == pid {
			found = append(found, Process{PID: child, Started: s.started})
		}
	}
	return found
}
