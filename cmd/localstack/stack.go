package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"user-service/cmd/localstack/servers"
)

// stack is the three servers of one state folder.
type stack struct {
	dir string
	out *progress
}

// acquire makes the servers ready and counts the caller among their users until release.
func (s *stack) acquire(ctx context.Context, f startFlags) (v variables, err error) {
	s.forgetOwn()
	if err := s.checkGiven(ctx); err != nil {
		return v, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return v, err
	}
	st, err := s.load()
	if err != nil {
		unlock()
		return v, err
	}
	if st.SecretKey == "" {
		st.SecretKey = servers.Secret()
	}
	st.Users = append(st.Users, servers.Self())
	if err = s.save(st); err == nil {
		v, err = s.start(ctx, &st, f)
	}
	unlock()
	if err != nil {
		err = errors.Join(err, s.release(false))
	}
	return v, err
}

// forgetOwn unsets the URLs of our own servers, which a shell may have read from our env file: they
// are not given, and their servers may have been stopped since.
func (s *stack) forgetOwn() {
	for _, k := range servers.Kinds {
		if i, err := k.Open(s.folder(k)); err == nil && i.URL != "" && os.Getenv(k.Variable) == i.URL {
			_ = os.Unsetenv(k.Variable)
		}
	}
}

// checkGiven logs in at the URLs from the environment, and tells all faults at once.
func (s *stack) checkGiven(ctx context.Context) error {
	faults := make([]error, len(servers.Kinds))
	var group sync.WaitGroup
	for n, k := range servers.Kinds {
		if url := os.Getenv(k.Variable); url != "" {
			group.Go(func() {
				if err := k.Check(ctx, url); err != nil {
					faults[n] = fmt.Errorf("%s is set, but a login with it fails: %w", k.Variable, err)
					return
				}
				s.out.say(fmt.Sprintf("%-9s %-9s as given by %s", k.Name, "", k.Variable))
			})
		}
	}
	group.Wait()
	return errors.Join(faults...)
}

// start makes ready what is not given, in the order: what is up, what is installed, Docker, apt-get.
func (s *stack) start(ctx context.Context, st *state, f startFlags) (variables, error) {
	v := given(st.SecretKey)
	wanted := slices.DeleteFunc(slices.Clone(servers.Kinds), func(k *servers.Kind) bool { return v.url(k) != "" })
	missing, err := s.missing(wanted)
	if err != nil {
		return v, err
	}
	var composed []*servers.Kind
	if len(missing) > 0 && !f.NoDocker {
		if composed, err = s.compose(ctx, st, missing); err != nil {
			return v, err
		}
		for _, k := range composed {
			v.set(k, st.Compose.url(k), st.Compose.managementURL(k))
		}
	}
	if len(composed) == 0 && len(missing) > 0 {
		if err := s.install(ctx, missing); err != nil {
			return v, err
		}
	}
	native := slices.DeleteFunc(wanted, func(k *servers.Kind) bool { return slices.Contains(composed, k) })
	return v, s.startNative(ctx, native, f, v)
}

// missing are the kinds that neither run nor are on the machine.
func (s *stack) missing(kinds []*servers.Kind) (missing []*servers.Kind, err error) {
	for _, k := range kinds {
		i, err := k.Open(s.folder(k))
		if err != nil {
			return nil, err
		}
		if i.Running() {
			continue
		}
		if _, err := k.Find(""); err != nil {
			missing = append(missing, k)
		}
	}
	return missing, nil
}

func (s *stack) folder(k *servers.Kind) string { return filepath.Join(s.dir, k.Name) }

func (s *stack) startNative(ctx context.Context, kinds []*servers.Kind, f startFlags, v variables) error {
	group, ctx := errgroup.WithContext(ctx)
	started := make([]*servers.Instance, len(kinds))
	for n, k := range kinds {
		group.Go(func() (err error) {
			task := s.out.begin(k.Name)
			started[n], err = k.Start(ctx, servers.Options{Dir: s.folder(k), Fast: f.Fast, Report: task.report})
			if err != nil {
				task.drop()
				return err
			}
			state := "ready"
			if started[n].Reused {
				state = "already up"
			}
			task.done(started[n].Version, state+" on "+started[n].Addr)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, k := range kinds {
		v.set(k, started[n].URL, started[n].ManagementURL)
	}
	return nil
}

// install is the last resort: it changes the machine, so it says so first.
func (s *stack) install(ctx context.Context, missing []*servers.Kind) error {
	packages := strings.Join(servers.Packages(missing), " ")
	if !servers.CanInstall() {
		return fmt.Errorf("%s. Install the packages %s (or run this as root on a machine with apt-get), %s",
			reasons(missing), packages, otherWays(missing))
	}
	logPath := filepath.Join(s.dir, "apt.log")
	s.out.say(fmt.Sprintf("%s: installing the packages %s with apt-get (output: %s)", reasons(missing), packages, logPath))
	task := s.out.begin("packages")
	err := servers.Install(ctx, missing, logPath, task.report)
	if ctx.Err() != nil {
		task.drop()
		return ctx.Err()
	}
	if err == nil && reasons(missing) != "" {
		err = errors.New(reasons(missing))
	}
	if err != nil {
		task.drop()
		return fmt.Errorf("%w. See %s, %s", err, logPath, otherWays(missing))
	}
	task.done("", "installed: "+packages)
	return nil
}

func otherWays(missing []*servers.Kind) string {
	var variables []string
	for _, k := range missing {
		variables = append(variables, k.Variable)
	}
	return "or start Docker with its compose plugin, or set " + strings.Join(variables, ", ") + " to servers of yours"
}

// reasons tells why the kinds cannot be used.
func reasons(missing []*servers.Kind) string {
	var all []string
	for _, k := range missing {
		if _, err := k.Find(""); err != nil {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, ", ")
}
