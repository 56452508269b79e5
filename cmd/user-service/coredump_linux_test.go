package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// TestCrashLeavesNoMemoryBehind, in which there are keys and passwords.
func TestCrashLeavesNoMemoryBehind(t *testing.T) {
	t.Parallel()
	path, err := binary()
	require.NoError(t, err)
	cmd := exec.Command(path, "hash") // waits for what it is to hash
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	servertest.Eventually(t, func() bool {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
		require.NoError(t, err)
		return regexp.MustCompile(`Max core file size +0 +0 `).Match(limits)
	}, "no core file, soft and hard")
	require.NoError(t, input.Close())
	require.NoError(t, cmd.Wait())
}
