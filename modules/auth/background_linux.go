package auth

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// startInBackground has a process run in the time that is left (sched(7), SCHED_IDLE). A core that does
// nothing else is idle to the kernel, and what wakes up goes there at once. With a low priority alone
// it may wait for tens of milliseconds behind others on one core while the other one hashes.
func startInBackground(process *exec.Cmd) error {
	// The kernel may share the cores out among sessions first (sched(7), "autogroup"): in ours the
	// process would use up the share of the service.
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: whoever is idle may not become normal again, so the thread ends with this
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0)
		result <- process.Start()
	}()
	if err := <-result; err != nil {
		return err
	}
	share := "/proc/" + strconv.Itoa(process.Process.Pid) + "/autogroup"
	_ = os.WriteFile(share, []byte("10"), 0) // a tenth of the other sessions' weight; no such file, no such shares
	return nil
}
