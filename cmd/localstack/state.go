package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"user-service/cmd/localstack/servers"
)

// state is what calls tell each other through the state folder, beside the record of each server.
type state struct {
	SecretKey string            `json:"secret_key"`
	Pinned    bool              `json:"pinned"` // by `up`: the servers stay until `down`
	Users     []servers.Process `json:"users"`  // calls that need the servers
	Compose   *project          `json:"compose,omitempty"`
}

func (s *stack) statePath() string { return filepath.Join(s.dir, "state.json") }

// load reads the state and forgets users that have died.
func (s *stack) load() (state, error) {
	var st state
	if err := servers.ReadJSON(s.statePath(), &st); err != nil {
		return st, fmt.Errorf("state folder %s: %w", s.dir, err)
	}
	st.Users = slices.DeleteFunc(st.Users, func(p servers.Process) bool { return !p.Alive() })
	return st, nil
}

func (s *stack) save(st state) error { return servers.WriteJSON(s.statePath(), st) }

// lock lets one call at a time start or stop servers. It makes the state folder if need be.
func (s *stack) lock(ctx context.Context) (unlock func(), err error) {
	tell := time.Now().Add(time.Second)
	for {
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return nil, err
		}
		dir, err := os.Open(s.dir)
		if err != nil {
			return nil, err
		}
		if syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			// `clean` may have deleted the folder after we opened it.
			ours, err1 := dir.Stat()
			current, err2 := os.Stat(s.dir)
			if err1 == nil && err2 == nil && os.SameFile(ours, current) {
				return func() { dir.Close() }, nil
			}
		} else if !tell.IsZero() && time.Now().After(tell) {
			tell = time.Time{}
			s.out.say("waiting for another localstack that starts or stops servers in " + s.dir)
		}
		dir.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}
