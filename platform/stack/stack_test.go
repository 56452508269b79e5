package stack_test

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"user-service/platform/stack"
)

// TestStackThatHasGrownStaysWhereItIs looks at where a goroutine's variable lies: a stack is doubled by
// copying it elsewhere.
func TestStackThatHasGrownStaysWhereItIs(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would halve it again
	moved := make(chan bool)
	go func() {
		stack.Grow()
		before := here()
		descend(0)
		moved <- here() != before
	}()
	require.False(t, <-moved)
}

// here is where a variable of this function lies, which is the same place at each call.
//
//go:noinline
func here() uintptr {
	var variable byte
	return uintptr(unsafe.Pointer(&variable)) // a number, so that it is not moved along
}

// descend takes 6 KB.
//
//go:noinline
func descend(depth int) {
	var room [256]byte
	fill(room[:])
	if depth < 20 {
		descend(depth + 1)
	}
}

//go:noinline
func fill(room []byte) { room[0] = 1 }
