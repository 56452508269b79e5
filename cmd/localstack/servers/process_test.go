package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bystander is a process that has nothing to do with us, under the account of a server.
func bystander(t *testing.T, account *syscall.Credential) Process {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return identify(cmd.Process.Pid)
}

func TestProcessIsAliveUntilItEndsEvenIfNobodyReapsIt(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	p := identify(cmd.Process.Pid)
	require.True(t, p.Alive())
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return !p.Alive() }, 10*time.Second, time.Millisecond, "a zombie is dead")
	require.False(t, p.recycled())
	_ = cmd.Wait()
	require.False(t, p.Alive())
	require.True(t, Self().Alive())
}

func TestProcessWithARecycledIDIsLeftAlone(t *testing.T) {
	t.Parallel()
	other := bystander(t, nil)
	dir := t.TempDir()
	i := start(t, Redis, dir)
	require.NoError(t, i.Stop(t.Context()))
	i.rec.Processes = []Process{{PID: other.PID, Started: "long ago"}}
	require.NoError(t, i.save())

	require.False(t, i.Running())
	require.NoError(t, i.Kill())
	i.rec.Processes = []Process{{PID: other.PID, Started: "long ago"}}
	require.NoError(t, i.Stop(t.Context()))
	i.rec.Processes = []Process{{PID: other.PID, Started: "long ago"}}
	require.NoError(t, i.save())
	after := start(t, Redis, dir)
	require.False(t, after.Reused)
	require.NotEqual(t, other.PID, after.PID())
	require.True(t, other.Alive())
}

func TestPostgresStartsThoughItsLastProcessIDWasRecycled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := start(t, Postgres, dir)
	require.NoError(t, i.Kill())
	other := bystander(t, i.account())

	lock := filepath.Join(i.cluster(), "postmaster.pid")
	text, err := os.ReadFile(lock)
	require.NoError(t, err)
	text = fmt.Appendf(nil, "%d%s", other.PID, text[len(fmt.Sprint(i.rec.Last.PID)):])
	require.NoError(t, os.WriteFile(lock, text, 0o600))
	i.rec.Last.PID = other.PID
	require.NoError(t, i.save())

	start(t, Postgres, dir)
	require.True(t, other.Alive())
}

func TestCommandOfACallerThatDiesIsNeverRun(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	cmd := exec.Command("/bin/sh", append(heldBack, "touch", mark)...)
	cmd.Stdin = nil // at its end, as the pipe of a dead caller
	require.Error(t, cmd.Run())
	require.NoFileExists(t, mark)
}
