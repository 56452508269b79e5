package servers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// account is what root runs the server as: the owner of its data, at first nobody. It is nil for
// other callers, who run their servers themselves.
func (i *Instance) account() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	if info, err := os.Stat(i.data()); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
		}
	}
	return nobody()
}

var nobody = sync.OnceValue(func() *syscall.Credential {
	c := &syscall.Credential{Uid: 65534, Gid: 65534} // its usual ids, where the name does not exist
	if u, err := user.Lookup("nobody"); err == nil {
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		c.Uid, c.Gid = uint32(uid), uint32(gid)
	}
	return c
})

// data is the folder that belongs to the server's account.
func (i *Instance) data() string { return filepath.Join(cmp.Or(i.rec.Elsewhere, i.dir), "data") }

// settle gives the server a folder for its data and a password. Data that its version cannot read, or
// whose password is lost, is set aside.
func (i *Instance) settle() error {
	if err := os.MkdirAll(i.dir, 0o755); err != nil {
		return err
	}
	unknown := i.rec.Secret == ""
	if unknown {
		i.rec.Secret, i.rec.Node = Secret(), Secret()[:8]
	}
	if !i.canWorkIn(i.data()) {
		if err := i.findHome(); err != nil {
			return err
		}
	}
	old := i.kind.series(i.rec.Version)
	if unknown || old != i.kind.series(i.binary.Version) {
		if err := i.setAside(cmp.Or(old, "unknown")); err != nil {
			return err
		}
	}
	i.rec.Version = i.binary.Version
	if err := i.makeData(); err != nil {
		return err
	}
	return i.save()
}

// findHome chooses the server's folder, or, if its account cannot reach that, a temporary one.
func (i *Instance) findHome() error {
	if i.rec.Elsewhere != "" { // half made by a call that was killed, so empty, or of no use any more
		_ = os.Remove(i.data())
		_ = os.Remove(i.rec.Elsewhere)
	}
	i.rec.Elsewhere = ""
	if err := i.makeData(); err != nil {
		return err
	}
	if i.canWorkIn(i.data()) {
		return nil
	}
	_ = os.Remove(i.data())
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		home := filepath.Join(parent, "localstack-"+i.kind.Name+"-"+Secret()[:16])
		i.rec.Elsewhere = home
		if err := i.save(); err != nil { // before it is made, so that it is never forgotten
			return err
		}
		if os.Mkdir(home, 0o700) != nil {
			continue
		}
		if errors.Join(os.Chmod(home, 0o711), i.makeData()) == nil && i.canWorkIn(i.data()) {
			i.report("keeping data in " + home)
			return nil
		}
		_ = os.RemoveAll(home)
	}
	return fmt.Errorf("the account that is to run the server can reach neither %s nor a temporary folder", i.dir)
}

// makeData makes the data folder, if it is not there, for the server's account.
func (i *Instance) makeData() error {
	if err := os.Mkdir(i.data(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return i.handOver(i.data())
}

// handOver gives a file or folder to the server's account.
func (i *Instance) handOver(path string) error {
	if c := i.account(); c != nil {
		return os.Lchown(path, int(c.Uid), int(c.Gid))
	}
	return nil
}

// canWorkIn tells whether the server's account can use a folder, whatever its parents allow.
func (i *Instance) canWorkIn(dir string) bool {
	cmd := exec.Command("/bin/sh", "-c", `cd "$0" && test -w "$0"`, dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.account()}
	return cmd.Run() == nil
}

// setAside renames data, if there is any.
func (i *Instance) setAside(series string) error {
	entries, err := os.ReadDir(i.data())
	if len(entries) == 0 {
		return err
	}
	aside := fmt.Sprintf("%s.%s-%s", i.data(), i.kind.Name, series)
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s.%s-%s.%d", i.data(), i.kind.Name, series, n)
	}
	i.report(fmt.Sprintf("data of version %s set aside as %s", series, aside))
	return os.Rename(i.data(), aside)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeOwned writes a file into the server's data, for the server's account only.
func (i *Instance) writeOwned(name, text string) (string, error) {
	path := filepath.Join(i.data(), name)
	if err := WriteFile(path, []byte(text)); err != nil {
		return "", err
	}
	return path, i.handOver(path)
}
