package auth

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process that hashes has a tenth of the weight of the others, so that a busy service still signs
// in. Kernels from 6.6 on let it finish its slice when another wakes: it has short ones.
const (
	niceness = 10
	slice    = 100 * time.Microsecond
)

// startInBackground has a process inherit a low priority. It gets a session of its own: the kernel
// may share the cores out among sessions first (sched(7), "autogroup"), and in ours the process would
// use up the share of the service.
func startInBackground(process *exec.Cmd) error {
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: a priority cannot be raised again, so the thread ends with this
		priority := unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: niceness, Runtime: uint64(slice)}
		_ = unix.SchedSetAttr(0, &priority, 0) // not allowed: the process has the priority of this one
		result <- process.Start()
	}()
	return <-result
}
