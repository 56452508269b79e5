package auth

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMemoryOfHashesLiesOnHugePages looks for the mapping that a hash has filled.
func TestMemoryOfHashesLiesOnHugePages(t *testing.T) {
	t.Parallel()
	p := inBackground()
	p.cost = DefaultCost
	_, err := p.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	_, err = os.Stat("/sys/kernel/mm/transparent_hugepage")
	kernelHasThem := err == nil

	mappings, err := os.ReadFile("/proc/" + strconv.Itoa(p.hashers[0].process.Process.Pid) + "/smaps")
	require.NoError(t, err)
	var filled, advised int
	for line := range strings.Lines(string(mappings)) { // proc_pid_smaps(5): VmFlags is a mapping's last line
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "Rss":
			filled, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			require.NoError(t, err)
		case "VmFlags":
			if strings.Contains(value, " hg") {
				advised = max(advised, filled)
			}
		}
	}
	require.Equal(t, kernelHasThem, advised > int(DefaultCost.Memory)/2, "kB on mappings with the advice: %d", advised)
}
