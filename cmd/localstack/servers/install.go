package servers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	policyFile  = "/usr/sbin/policy-rc.d"
	clusterFile = "/etc/postgresql-common/createcluster.conf"
)

// CanInstall tells whether Install can work: it needs root and apt-get.
func CanInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil && os.Getuid() == 0
}

// Packages are the Debian packages of the kinds.
func Packages(kinds []*Kind) (names []string) {
	for _, k := range kinds {
		names = append(names, k.Package)
	}
	return names
}

// Install installs the packages of the kinds with apt-get, without starting any server of the system.
// What apt-get says goes to the end of a log file.
func Install(ctx context.Context, kinds []*Kind, logPath string, report func(status string)) error {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	a := apt{log: log, report: report}
	err = a.offers(ctx, kinds)
	if err == nil {
		err = a.download(ctx, kinds)
	}
	if err != nil && ctx.Err() == nil { // the lists may be missing, or older than the archive
		if err := a.update(ctx); err != nil {
			return err
		}
		if err := a.offers(ctx, kinds); err != nil {
			return err
		}
		err = a.download(ctx, kinds)
	}
	if err != nil {
		return err
	}
	restore, err := keepQuiet()
	if err != nil {
		return err
	}
	defer restore()
	return a.install(ctx, kinds)
}

// apt runs apt-get. Its output goes right into the file: it must not die of a pipe if we are killed.
type apt struct {
	log    *os.File
	report func(status string)
}

// offers checks that apt knows each package in a version that will do.
func (a apt) offers(ctx context.Context, kinds []*Kind) error {
	for _, k := range kinds {
		cmd := exec.CommandContext(ctx, "apt-cache", "policy", k.Package)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, _ := cmd.Output()
		_, version, _ := strings.Cut(string(out), "Candidate: ")
		version, _, _ = strings.Cut(version, "\n")
		if version == "" || version == "(none)" {
			return fmt.Errorf("apt offers no package %s", k.Package)
		}
		if _, upstream, found := strings.Cut(version, ":"); found {
			version = upstream
		}
		if compareVersions(version, k.Minimum) < 0 {
			return fmt.Errorf("apt offers %s %s, but %s or newer is needed", k.Package, version, k.Minimum)
		}
	}
	return nil
}

func (a apt) update(ctx context.Context) error {
	a.report("apt-get update")
	return a.get(ctx, "update")
}

func (a apt) download(ctx context.Context, kinds []*Kind) error {
	a.report("downloading")
	return a.get(ctx, append([]string{"install", "--download-only", "-y", "--no-install-recommends"}, Packages(kinds)...)...)
}

// install cannot be interrupted: that would leave packages half installed.
func (a apt) install(ctx context.Context, kinds []*Kind) error {
	a.report("installing")
	defer context.AfterFunc(ctx, func() { a.report("interrupted, but finishing the installation") })()
	err := a.get(context.WithoutCancel(ctx), append([]string{"install", "-y", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"}, Packages(kinds)...)...)
	return cmp.Or(ctx.Err(), err)
}

// get runs apt-get to its end. It waits for the lock on the package lists, for which apt-get itself does not.
func (a apt) get(ctx context.Context, args ...string) error {
	for patience := time.Now().Add(2 * time.Minute); ; {
		before, err := a.log.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "apt-get", append(args, "-q", "-o", "Acquire::Retries=2")...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
		cmd.Stdout, cmd.Stderr = a.log, a.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of Ctrl-C
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
		if err = withoutInherited(cmd.Start); err == nil {
			err = cmd.Wait()
		}
		said, _ := io.ReadAll(io.NewSectionReader(a.log, before, 1<<20))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case !bytes.Contains(said, []byte("Could not get lock")) || time.Now().After(patience):
			lines := strings.Split(strings.TrimRight(string(said), ".\n "), "\n")
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lines[len(lines)-1])
		}
		a.report("waiting for another apt-get")
		time.Sleep(time.Second)
	}
}

// keepQuiet makes the packages start no service and PostgreSQL's make no cluster of the system. What it
// changes for that is undone by restore; what the machine has already is left alone.
func keepQuiet() (restore func(), err error) {
	policy, err1 := place(policyFile, "#!/bin/sh\n# of localstack, while it installs packages\nexit 101\n", 0o755)
	cluster, err2 := place(clusterFile, "# of localstack, while it installs packages\ncreate_main_cluster = false\n", 0o644)
	restore = func() {
		if policy {
			_ = os.Remove(policyFile)
		}
		// The package has put its own file beside ours.
		if cluster && os.Rename(clusterFile+".ucf-dist", clusterFile) != nil {
			_ = os.Remove(clusterFile)
		}
	}
	if err := errors.Join(err1, err2); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

// place writes a file unless there is one. It is ours also if a call that was killed left it.
func place(path, text string, mode os.FileMode) (ours bool, err error) {
	if there, err := os.ReadFile(path); err == nil {
		return string(there) == text, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(path, []byte(text), mode)
}
