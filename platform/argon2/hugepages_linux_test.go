package argon2

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestMemoryLiesOnHugePages looks for the mapping that the memory is on, and for the advice there.
func TestMemoryLiesOnHugePages(t *testing.T) {
	t.Parallel()
	m := Memory{HugePages: true}
	m.Key(password, salt, usual, 32)
	if !wide {
		require.Nil(t, m.blocks, "the library has its own")
		return
	}
	_, err := os.Stat("/sys/kernel/mm/transparent_hugepage")
	kernelHasThem := err == nil

	mappings, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	middle := uintptr(unsafe.Pointer(&m.blocks[len(m.blocks)/2]))
	var found, advised bool
	for line := range strings.Lines(string(mappings)) { // proc_pid_smaps(5): VmFlags is a mapping's last line
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			found = from <= middle && middle < to
		} else if flags, isFlags := strings.CutPrefix(line, "VmFlags:"); isFlags && found {
			advised = strings.Contains(flags, " hg")
			break
		}
	}
	require.Equal(t, kernelHasThem, advised)
}
