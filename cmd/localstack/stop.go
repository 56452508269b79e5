package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"user-service/cmd/localstack/servers"
)

// release takes the caller off the users. The last one stops the servers, unless they are pinned. It
// goes on when the caller was interrupted.
func (s *stack) release(pin bool) error {
	ctx := context.Background()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := s.load()
	if err != nil {
		return err
	}
	st.Users = slices.DeleteFunc(st.Users, func(p servers.Process) bool { return p == servers.Self() })
	st.Pinned = st.Pinned || pin
	if st.Pinned || len(st.Users) > 0 {
		return s.save(st)
	}
	return s.stopAll(ctx, &st, false)
}

// down stops the servers, whoever uses them.
func (s *stack) down(ctx context.Context) error {
	if _, err := os.Stat(s.dir); err != nil {
		return nil // nothing ever ran
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.stopFor(ctx, false)
}

// clean stops the servers and deletes what they and we left in the state folder, and only that.
func (s *stack) clean(ctx context.Context) error {
	if _, err := os.Stat(s.dir); err != nil {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.stopFor(ctx, true); err != nil {
		return err
	}
	for _, k := range servers.Kinds {
		i, err := k.Open(s.folder(k))
		if err == nil {
			err = i.Remove()
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"env", "apt.log", "compose.log", "state.json"} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	_ = os.Remove(s.dir) // stays if something of others is in it
	return nil
}

// stopFor stops the servers at a user's demand.
func (s *stack) stopFor(ctx context.Context, wipe bool) error {
	st, err := s.load()
	if err != nil {
		return err
	}
	for _, p := range st.Users {
		s.out.say(fmt.Sprintf("process %d still uses the servers", p.PID))
	}
	st.Pinned = false
	return s.stopAll(ctx, &st, wipe)
}

// stopAll stops all that is on record, and saves the state.
func (s *stack) stopAll(ctx context.Context, st *state, wipe bool) error {
	var group errgroup.Group
	for _, k := range servers.Kinds {
		group.Go(func() error {
			i, err := k.Open(s.folder(k))
			if err != nil || !i.Leftover() {
				return err
			}
			task := s.out.begin(k.Name)
			task.report("stopping")
			if err := i.Stop(ctx); err != nil {
				task.drop()
				return err
			}
			task.done(i.Version, "stopped")
			return nil
		})
	}
	if st.Compose != nil {
		group.Go(func() error { return s.composeDown(ctx, st, wipe) })
	}
	return errors.Join(group.Wait(), s.save(*st))
}
