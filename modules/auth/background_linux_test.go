package auth

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestEveryThreadThatHashesIsInTheBackground: one that is not would take a core from the other routes.
func TestEveryThreadThatHashesIsInTheBackground(t *testing.T) {
	t.Parallel()
	p := inBackground()
	for range 3 {
		_, err := p.hash(t.Context(), "correct horse battery")
		require.NoError(t, err)
	}
	pid := p.hashers[0].process.Process.Pid
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
	require.NoError(t, err)
	require.NotEmpty(t, threads)
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		require.NoError(t, err)
		attributes, err := unix.SchedGetAttr(id, 0)
		require.NoError(t, err)
		require.EqualValues(t, unix.SCHED_IDLE, attributes.Policy)
	}
	if session, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/autogroup"); err == nil { // a kernel with such shares
		require.Contains(t, string(session), "nice 10")
	}
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	require.NoError(t, err)
	require.Equal(t, "GOMAXPROCS=1", strings.Trim(string(environment), "\x00"), "nothing secret goes along")
}
