package auth

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"user-service/platform/fault"
)

// cost of a hash: Argon2id with 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet).
var cost = &argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// idleAfter is how long after the last hash its memory is given back to the system. The collector
// alone would keep some 60 MiB for many minutes.
const idleAfter = 2 * time.Second

// maxWaiting bounds the hashes that wait for a core; each takes about 20 ms.
const maxWaiting = 100

// passwords hashes, at most one on each core at a time: a flood of logins can neither take the
// memory nor starve the other routes.
type passwords struct {
	cores   chan struct{}
	waiting atomic.Int64
	idle    *time.Timer
}

// decoy is what an unknown account's password is compared with, so that it takes as long. It is the
// hash of nothing: salt and key are made up.
const decoy = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCEhIQ$bm9ib2R5J3Mga2V5LCB3aGljaCBmaXRzIG5vdGhpbmc"

func newPasswords() *passwords {
	return &passwords{
		cores: make(chan struct{}, runtime.GOMAXPROCS(0)),
		idle:  time.AfterFunc(idleAfter, debug.FreeOSMemory),
	}
}

func (p *passwords) hash(ctx context.Context, password string) (hash string, err error) {
	err = p.onCore(ctx, func() error {
		hash, err = argon2id.CreateHash(password, cost)
		return err
	})
	return hash, err
}

// matches compares. An empty hash stands for an account that does not exist: it takes the same time
// and never matches.
func (p *passwords) matches(ctx context.Context, password, hash string) (match bool, err error) {
	exists := hash != ""
	if !exists {
		hash = decoy
	}
	err = p.onCore(ctx, func() error {
		match, err = argon2id.ComparePasswordAndHash(password, hash)
		return err
	})
	return match && exists, err
}

func (p *passwords) onCore(ctx context.Context, work func() error) error {
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return fault.Away(errTooBusy)
	}
	defer p.waiting.Add(-1)
	select {
	case p.cores <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		<-p.cores
		p.idle.Reset(idleAfter)
	}()
	return work()
}
