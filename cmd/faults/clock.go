package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	clockJumpsBy    = "CLOCK_JUMPS_BY" // seconds
	clockJumpsAfter = 3 * time.Second  // of its start
)

// clockwork is a build of the service with a clock that jumps.
func (w *world) clockwork() string { return filepath.Join(w.dir, "user-service-clock") }

// buildClockwork makes it, once. A process cannot have a clock of its own on
// Linux, and the machine's is not ours to set; so it is built against a copy of package time.
func buildClockwork(ctx context.Context, w *world) {
	if w.clockBuilt {
		return
	}
	w.clockBuilt = true
	root := strings.TrimSpace(string(must(exec.CommandContext(ctx, "go", "env", "GOROOT").Output())))
	original := filepath.Join(root, "src", "time", "time.go")
	source := string(must(os.ReadFile(original)))
	const now = "sec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(source, now) {
		check(fmt.Errorf("%s does not ask for the time as it used to: cannot have the clock jump", original))
	}
	source = strings.Replace(source, now, now+"	if mono-startNano > "+strconv.FormatInt(clockJumpsAfter.Nanoseconds(), 10)+" {\n		sec += jump\n	}\n", 1)
	source = strings.Replace(source, "import (", "import (\n	\"syscall\"", 1) + `
var jump = func() int64 {
	by, _ := syscall.Getenv("` + clockJumpsBy + `")
	seconds, _ := atoi(by)
	return int64(seconds)
}()
`
	replacement := filepath.Join(w.dir, "time.go")
	overlay := filepath.Join(w.dir, "clock.json")
	check(os.WriteFile(replacement, []byte(source), 0o600))
	check(os.WriteFile(overlay, must(json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})), 0o600))
	build := w.command(ctx, "go", "build", "-overlay", overlay, "-o", w.clockwork(), "user-service/cmd/user-service")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	check(build.Run())
}
