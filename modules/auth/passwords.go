package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"user-service/platform/argon2"
	"user-service/platform/fault"
)

// Cost is what a hash by Argon2id takes.
type Cost = argon2.Cost

// DefaultCost is 19 MiB, 2 passes and 1 lane (OWASP Password Storage Cheat Sheet).
var DefaultCost = Cost{Memory: 19456, Passes: 2, Lanes: 1}

// Bytes of a hash (RFC 9106, section 4).
const (
	saltLength = 16
	keyLength  = 32
)

// newHash hashes a password, in the PHC string format, https://github.com/P-H-C/phc-string-format.
func newHash(password string, cost Cost, memory *argon2.Memory) string {
	var salt [saltLength]byte
	_, _ = rand.Read(salt[:]) // never fails
	key := memory.Key([]byte(password), salt[:], cost, keyLength)
	encode := base64.RawStdEncoding.EncodeToString
	return prefixOf(cost) + "$" + encode(salt[:]) + "$" + encode(key)
}

// prefixOf is what hashes of this cost begin with.
func prefixOf(cost Cost) string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d", cost.Memory, cost.Passes, cost.Lanes)
}

// idleAfter is how long after the last hash its memory is given back to the system. The collector
// alone would keep some 60 MiB for many minutes.
const idleAfter = 10 * time.Second

// unusedAfter is how long after the last hash the processes for hashes are ended.
const unusedAfter = time.Minute

// A hash that takes as long as starvedAfter in the background, many times what it takes on a core of its
// own, gets no time there. For starvedFor the background is then left alone.
const (
	starvedAfter = time.Second
	starvedFor   = 10 * time.Second
)

// maxWaiting bounds the hashes that wait for a core; each takes 6 to 30 ms.
const maxWaiting = 100

// passwords hashes, at most one on each core at a time and behind the other routes: a flood of logins
// can neither take the memory nor starve them.
type passwords struct {
	cost     Cost          // of new hashes
	command  []string      // of a process that runs ServeHashes; none: hashes are made in this one
	patience time.Duration // starvedAfter
	cores    chan struct{}
	waiting  atomic.Int64 // those on a core among them
	refused  prometheus.Counter
	idle     *time.Timer // memory is given back
	unused   *time.Timer // processes are ended
	log      *slog.Logger

	mu      sync.Mutex
	hashers []*hasher // that have nothing to do, the last one used at the end
	started int       // those at work among them, no more than there are cores
	crowded time.Time // until when the background gets no time
}

func newPasswords(cost Cost, command []string, log *slog.Logger) *passwords {
	p := &passwords{
		cost: cost, command: command, patience: starvedAfter, log: log,
		cores: make(chan struct{}, runtime.GOMAXPROCS(0)),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "password_hashes_refused_total", Help: "Password hashes that were refused because too many waited.",
		}),
		idle: time.AfterFunc(idleAfter, debug.FreeOSMemory),
	}
	p.unused = time.AfterFunc(unusedAfter, p.endHashers)
	return p
}

func (p *passwords) hash(ctx context.Context, password string) (hash string, err error) {
	r, err := p.onCore(ctx, hashJob{Password: password, Cost: p.cost})
	return r.Hash, err
}

// matches compares. A hash that no password can match, as an empty one, takes the time of one of ours.
func (p *passwords) matches(ctx context.Context, password, hash string) (match bool, err error) {
	usable := readHash(hash) != nil
	if !usable {
		hash = decoy(p.cost)
	}
	r, err := p.onCore(ctx, hashJob{Password: password, Hash: hash})
	return r.Match && usable, err
}

func (p *passwords) onCore(ctx context.Context, job hashJob) (hashResult, error) {
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		p.refused.Inc()
		return hashResult{}, fault.Away(errTooBusy)
	}
	defer p.waiting.Add(-1)
	select {
	case p.cores <- struct{}{}:
	case <-ctx.Done():
		return hashResult{}, ctx.Err()
	}
	defer func() { <-p.cores }()
	defer p.idle.Reset(idleAfter) // requests leave something behind wherever they hash
	if len(p.command) == 0 {
		return job.do(new(argon2.Memory)), nil
	}
	result, err := p.inBackground(job)
	if err == nil {
		return result, nil
	}
	if !errors.Is(err, errCrowded) { // which was told before
		p.log.WarnContext(ctx, "passwords are hashed in the foreground", "error", err)
	}
	return job.do(new(argon2.Memory)), nil
}

var (
	errStarved = errors.New("the background gets no time")
	errCrowded = errors.New("the background got no time a moment ago")
)

// inBackground leaves a process that gets no time to go on as it can: so it costs the least.
func (p *passwords) inBackground(job hashJob) (result hashResult, err error) {
	h, err := p.takeHasher()
	if err != nil {
		return result, err
	}
	type outcome struct {
		hashResult
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := h.do(job)
		p.giveBack(h, err)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.hashResult, o.err
	case <-time.After(p.patience):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.crowded = time.Now().Add(starvedFor)
		return result, errStarved
	}
}

// takeHasher starts no more processes than are needed at once.
func (p *passwords) takeHasher() (*hasher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.crowded) {
		return nil, errCrowded
	}
	if last := len(p.hashers) - 1; last >= 0 {
		h := p.hashers[last]
		p.hashers = p.hashers[:last]
		return h, nil
	}
	if p.started == cap(p.cores) { // and all have been left alone
		return nil, errCrowded
	}
	h, err := startHasher(p.command)
	if err == nil {
		p.started++
	}
	return h, err
}

// giveBack has the next one take the process, if it has not ended with an error.
func (p *passwords) giveBack(h *hasher, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.started--
		return
	}
	p.hashers = append(p.hashers, h)
	p.unused.Reset(unusedAfter)
}

// run ends the processes that have nothing to do when ctx ends.
func (p *passwords) run(ctx context.Context) error {
	<-ctx.Done()
	p.idle.Stop()
	p.unused.Stop()
	p.endHashers()
	return nil
}

// endHashers ends those that have nothing to do; a later hash starts another.
func (p *passwords) endHashers() {
	p.mu.Lock()
	unused := p.hashers
	p.hashers = nil
	p.started -= len(unused)
	p.mu.Unlock()
	for _, h := range unused {
		h.end()
	}
}
