package push

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	recentFor = time.Minute
	maxRecent = 4_000 // texts, none larger than what a provider takes
)

type textKey = [sha256.Size]byte

// recentTexts are those that were made within a minute. They are kept by the minute they were made in:
// what is too old goes all at once, and nothing has to be looked for.
type recentTexts struct {
	mu          sync.Mutex
	now, before map[textKey]keptText
	since       time.Time // when now began
}

type keptText struct {
	Text
	made time.Time
}

func newRecentTexts() *recentTexts { return &recentTexts{now: map[textKey]keptText{}} }

func (r *recentTexts) get(key textKey, at time.Time) (Text, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, known := r.now[key]
	if !known {
		kept, known = r.before[key]
	}
	return kept.Text, known && at.Sub(kept.made) < recentFor
}

func (r *recentTexts) put(key textKey, text Text, at time.Time) {
	if len(text.Title)+len(text.Body) > maxPayload {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Sub(r.since) >= recentFor || len(r.now) >= maxRecent/2 {
		r.before, r.now, r.since = r.now, map[textKey]keptText{}, at
	}
	r.now[key] = keptText{text, at}
}
