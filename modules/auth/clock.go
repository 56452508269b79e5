package auth

import (
	"sync/atomic"
	"time"
)

// databaseClock is the one clock that all instances share. Tokens are issued and judged by it, so that
// nobody notices when an instance's own is wrong, or jumps.
type databaseClock struct{ last atomic.Pointer[reading] }

type reading struct {
	shown time.Time
	at    time.Time // by the monotonic clock, which does not jump
}

// now is that of this machine, as long as the database's is not known.
func (c *databaseClock) now() time.Time {
	if r := c.last.Load(); r != nil {
		return r.shown.Add(time.Since(r.at))
	}
	return time.Now()
}

func (c *databaseClock) known() bool { return c.last.Load() != nil }

// set notes what the database's showed at some time since asked.
func (c *databaseClock) set(shown, asked time.Time) {
	c.last.Store(&reading{shown, asked.Add(time.Since(asked) / 2)})
}
