package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards    = 16
	shardKeys = 4096 // 64 Ki keys in all, some 2 MiB
	looksAt   = 8    // keys among which the one to forget is chosen
)

// deadlines keep a time for each key, in bounded memory: when it is full, keys with an early time are
// forgotten first. So a flood of new keys pushes out one another, and not the buckets that were
// emptied, whose times are late.
type deadlines struct {
	seed   maphash.Seed
	shards [shards]shard
}

// shard keys by a hash whose seed nobody knows: keys are of any length, and some are not to be kept.
type shard struct {
	mu sync.Mutex
	at map[uint64]time.Duration
}

func newDeadlines() *deadlines {
	d := &deadlines{seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].at = map[uint64]time.Duration{}
	}
	return d
}

// lock gives the shard of a key, locked, and the key in it.
func (d *deadlines) lock(kind, key string) (*shard, uint64) {
	var hash maphash.Hash
	hash.SetSeed(d.seed)
	_, _ = hash.WriteString(kind)
	_ = hash.WriteByte(0)
	_, _ = hash.WriteString(key)
	id := hash.Sum64()
	s := &d.shards[id%shards]
	s.mu.Lock()
	return s, id
}

// count is GCRA: it keeps when the bucket of a key is full again, and each event puts that off.
func (d *deadlines) count(limit Limit, key string, n int, now time.Duration) Result {
	s, id := d.lock(limit.Name, key)
	defer s.mu.Unlock()
	step := limit.step()
	burst := step * time.Duration(limit.Burst)
	held := max(s.at[id], now)
	full := held + step*time.Duration(n)
	if wait := full - now - burst; wait > 0 {
		return Result{limit, 0, held - now, wait}
	}
	s.put(id, full)
	return Result{limit, int((burst - (full - now)) / step), full - now, 0}
}

func (d *deadlines) set(kind, key string, at time.Duration) {
	s, id := d.lock(kind, key)
	defer s.mu.Unlock()
	s.put(id, at)
}

func (d *deadlines) get(kind, key string) time.Duration {
	s, id := d.lock(kind, key)
	defer s.mu.Unlock()
	return s.at[id]
}

func (d *deadlines) forget(kind, key string) {
	s, id := d.lock(kind, key)
	defer s.mu.Unlock()
	delete(s.at, id)
}

func (s *shard) put(id uint64, at time.Duration) {
	if _, known := s.at[id]; !known && len(s.at) >= shardKeys {
		delete(s.at, s.earliest())
	}
	s.at[id] = at
}

// earliest is the key with the earliest time among some at random.
func (s *shard) earliest() (earliest uint64) {
	looked := 0
	for id, at := range s.at {
		if looked == 0 || at < s.at[earliest] {
			earliest = id
		}
		if looked++; looked == looksAt {
			break
		}
	}
	return earliest
}
