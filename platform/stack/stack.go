// Package stack spares goroutines that live shortly the growth of their stacks.
package stack

// Grow has the calling goroutine get a stack of 16 KB, as long as it has little on it. A stack begins with a
// few KB and is doubled as often as need be, which copies all that is on it each time: in a goroutine that is
// started for one message and goes down deep, much of what it does.
//
//go:noinline
func Grow() {
	var room [8 << 10]byte
	touch(room[:])
}

//go:noinline
func touch(room []byte) { room[0] = 1 }
