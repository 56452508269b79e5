package auth

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A process that hashes has a tenth of the weight of the others, so that a busy service still signs
// in. Kernels from 6.6 on let it finish its slice when another wakes: it has short ones.
const (
	niceness = 10
	slice    = 100 * time.Microsecond
)

// inBackground has start make a process that inherits a low priority.
func inBackground(start func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: a priority cannot be raised again, so the thread ends with this
		priority := unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: niceness, Runtime: uint64(slice)}
		_ = unix.SchedSetAttr(0, &priority, 0) // not allowed: the process has the priority of this one
		result <- start()
	}()
	return <-result
}
