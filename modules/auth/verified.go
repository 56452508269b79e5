package auth

import "sync"

// verified remembers the claims of access tokens whose signatures were found good: a client sends the
// same token with each request, and the work is always the same. Only good ones get in, so nobody can
// fill it with others; when they are too many, those not used lately go first.
type verified struct {
	mu            sync.RWMutex
	recent, older map[string]claims
}

// maxVerified bounds each of the two halves: some 3 MB.
const maxVerified = 4096

func newVerified() *verified { return &verified{recent: map[string]claims{}} }

func (v *verified) get(token string) (claims, bool) {
	v.mu.RLock()
	c, known := v.recent[token]
	if known {
		v.mu.RUnlock()
		return c, true
	}
	c, known = v.older[token]
	v.mu.RUnlock()
	if known {
		v.add(token, c)
	}
	return c, known
}

func (v *verified) add(token string, c claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.recent) >= maxVerified {
		v.recent, v.older = map[string]claims{}, v.recent
	}
	v.recent[token] = c
}
