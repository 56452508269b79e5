package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Binary is a server program on this machine.
type Binary struct {
	Path    string
	Version string
}

// NotFoundError says that a server is not on this machine in a version that can be used.
type NotFoundError struct {
	Kind   *Kind
	Reason string
}

func (e *NotFoundError) Error() string { return e.Kind.Name + " " + e.Reason }

// Find returns the newest version of the server on this machine, but one of the given series, if there
// is any, before all others. The error is a *NotFoundError.
func (k *Kind) Find(series string) (Binary, error) {
	all := k.candidates()
	slices.SortStableFunc(all, func(a, b Binary) int { return compareVersions(b.Version, a.Version) })
	if len(all) == 0 {
		return Binary{}, &NotFoundError{k, "is not installed"}
	}
	if compareVersions(all[0].Version, k.Minimum) < 0 {
		return Binary{}, &NotFoundError{k, fmt.Sprintf("%s in %s is older than %s", all[0].Version, all[0].Path, k.Minimum)}
	}
	for _, b := range all {
		if k.series(b.Version) == series && compareVersions(b.Version, k.Minimum) >= 0 {
			return b, nil
		}
	}
	return all[0], nil
}

// searchPath is the caller's PATH and the usual places behind it: a server's scripts need the tools there.
func searchPath() string {
	return strings.TrimPrefix(os.Getenv("PATH")+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":")
}

// onPath returns the folder of a program on the PATH as a pattern for glob, or one that matches nothing.
func onPath(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return filepath.Dir(path)
}

// glob returns the folders that match the patterns, links resolved, each once.
func glob(patterns ...string) (dirs []string) {
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern)
		for _, dir := range matches {
			if target, err := filepath.EvalSymlinks(dir); err == nil {
				dir = target
			}
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)+|\b\d+`)

// askVersion runs a program for the first version number it prints.
func askVersion(program string) string {
	out, _ := exec.Command(program, "--version").Output()
	return versionPattern.FindString(string(out))
}

// compareVersions compares dotted numbers; what follows the numbers does not count.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for n := range max(len(x), len(y)) {
		if c := cmp.Compare(number(x, n), number(y, n)); c != 0 {
			return c
		}
	}
	return 0
}

func number(parts []string, n int) int {
	if n >= len(parts) {
		return 0
	}
	digits := strings.IndexFunc(parts[n]+"x", func(r rune) bool { return r < '0' || r > '9' })
	value, _ := strconv.Atoi(parts[n][:digits])
	return value
}

// firstParts returns the first n numbers of a version.
func firstParts(version string, n int) string {
	parts := strings.Split(version, ".")
	return strings.Join(parts[:min(n, len(parts))], ".")
}
