package messaging

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/platform/servertest"
)

// recorded is a connection that notes down what is written.
type recorded struct {
	net.Conn
	packets [][]byte
	broken  error
}

func (r *recorded) Write(b []byte) (int, error) {
	if r.broken != nil {
		return 0, r.broken
	}
	r.packets = append(r.packets, bytes.Clone(b))
	return len(b), nil
}

func TestWhatIsGatheredLeavesTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	wire := new(recorded)
	s := &socket{Conn: wire}
	write := func(text string) {
		n, err := s.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, len(text), n)
	}
	write("a")
	done := s.gather()
	write("b")
	other := s.gather()
	write("c")
	require.Equal(t, [][]byte{[]byte("a")}, wire.packets)
	require.NoError(t, other())
	require.Equal(t, [][]byte{[]byte("a"), []byte("bc")}, wire.packets, "who is done does not wait for others")
	write("d")
	require.NoError(t, done())
	require.NoError(t, s.gather()(), "nothing is not written")
	write("e")
	require.Equal(t, "abcde", string(bytes.Join(wire.packets, nil)))
	require.Len(t, wire.packets, 4)
}

func TestMuchIsNotGathered(t *testing.T) {
	t.Parallel()
	wire := new(recorded)
	s := &socket{Conn: wire}
	done := s.gather()
	for range 3 {
		_, err := s.Write(make([]byte, maxGathered/2))
		require.NoError(t, err)
	}
	require.Len(t, wire.packets, 1)
	require.NoError(t, done())
	require.Len(t, wire.packets, 2)
}

func TestGatheredThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	s := &socket{Conn: &recorded{broken: errors.New("broken pipe")}}
	done := s.gather()
	_, err := s.Write([]byte("a"))
	require.NoError(t, err)
	require.ErrorContains(t, done(), "broken pipe")
	_, err = s.Write([]byte("b"))
	require.ErrorContains(t, err, "broken pipe")
}

// TestConnectionIsHungUpWhileAWriteIsStuck and somebody else waits to gather.
func TestConnectionIsHungUpWhileAWriteIsStuck(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe() // nobody reads there
	t.Cleanup(func() { _ = theirs.Close() })
	c := NewConnection("amqp://127.0.0.1:1", "stuck", Topology{}, silent)
	c.socket = &socket{Conn: ours}
	var stuck, waits errgroup.Group
	stuck.Go(func() error { _, err := c.socket.Write([]byte("a")); return err })
	servertest.Eventually(t, func() bool {
		free := c.socket.mu.TryLock()
		if free {
			c.socket.mu.Unlock()
		}
		return !free
	}, "the write is under way")
	waits.Go(func() error { return c.gather()() })
	<-time.After(10 * time.Millisecond) // long enough to wait for it
	c.hangUp()
	require.Error(t, stuck.Wait())
	require.NoError(t, waits.Wait())
}
