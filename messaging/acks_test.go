package messaging

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// channelOf is what the broker knows of one channel.
type channelOf struct {
	amqp.Acknowledger
	t       require.TestingT
	mu      sync.Mutex      // a timer may ack
	unacked map[uint64]bool // by their tags; whether they are done
	frames  int
	packets int
}

// delivered has messages be unacked, done or not.
func (c *channelOf) delivered(done bool, tags ...uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		c.unacked[tag] = done
	}
}

// left is how many are unacked, and how many frames settled the others.
func (c *channelOf) left() (unacked, frames int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unacked), c.frames
}

// gather counts what is gathered as one packet.
func (c *channelOf) gather() (done func() error) {
	before := c.frames
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.frames > before {
			c.packets++
		}
		return nil
	}
}

func (c *channelOf) settle(tag uint64) {
	require.Contains(c.t, c.unacked, tag, "the broker closes a channel for a tag that it does not know")
	require.True(c.t, c.unacked[tag], "%d is in the works still", tag)
	delete(c.unacked, tag)
}

func (c *channelOf) Ack(tag uint64, multiple bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames++
	if multiple {
		for before := range c.unacked {
			if before < tag {
				c.settle(before)
			}
		}
	}
	c.settle(tag)
	return nil
}

func (c *channelOf) Nack(tag uint64, multiple, requeue bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	require.False(c.t, multiple)
	require.True(c.t, requeue)
	c.settle(tag)
	return nil
}

// TestAcksAreOfThoseThatAreDone in whatever order messages are, and are given back.
func TestAcksAreOfThoseThatAreDone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := &channelOf{t: t, unacked: map[uint64]bool{}}
		a := newAcks(c, c.gather, rapid.IntRange(1, 20).Draw(t, "prefetch"), silent)
		tags := make([]uint64, rapid.IntRange(1, 60).Draw(t, "messages"))
		for n := range tags {
			tags[n] = uint64(n + 1)
			c.delivered(false, tags[n])
			a.taken(tags[n])
		}
		for _, tag := range rapid.Permutation(tags).Draw(t, "order") {
			fate := rapid.IntRange(0, 9).Draw(t, "fate")
			if fate == 0 { // it never ends
				continue
			}
			c.delivered(true, tag)
			if fate == 1 {
				a.giveBack(tag)
			} else {
				a.ack(tag)
			}
			if rapid.IntRange(0, 5).Draw(t, "time passes") == 0 {
				a.send()
			}
		}
		a.send()
		c.mu.Lock()
		defer c.mu.Unlock()
		for tag, done := range c.unacked {
			require.False(t, done, "%d was not acked", tag)
		}
	})
}

func TestAcksOfACrowdAreOneAndNoneWaitsLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &channelOf{t: t, unacked: map[uint64]bool{}}
		const slow, ackTogether = 1, 16
		a := newAcks(c, c.gather, 2*ackTogether, silent)
		for tag := uint64(slow); tag <= ackTogether+2; tag++ {
			a.taken(tag)
			c.delivered(tag != slow, tag)
		}
		for tag := uint64(slow + 1); tag <= ackTogether+2; tag++ {
			a.ack(tag)
		}
		unacked, _ := c.left()
		require.Equal(t, 2, unacked, "one is in the works, and one waits for others")
		require.Equal(t, 1, c.packets)
		<-time.After(ackWithin)
		synctest.Wait()
		unacked, frames := c.left()
		require.Equal(t, 1, unacked)
		require.Equal(t, ackTogether+1, frames, "behind one in the works each has its own")
		c.delivered(true, slow)
		a.ack(slow)
		<-time.After(ackWithin)
		synctest.Wait()
		unacked, before := c.left()
		require.Zero(t, unacked)

		for tag := uint64(100); tag < 100+ackTogether; tag++ {
			a.taken(tag)
			c.delivered(true, tag)
		}
		for tag := uint64(100); tag < 100+ackTogether; tag++ {
			a.ack(tag)
		}
		unacked, frames = c.left()
		require.Zero(t, unacked)
		require.Equal(t, before+1, frames)
	})
}

func TestAckDoesNotWaitWhereTheBrokerHandsOverOneAtATime(t *testing.T) {
	t.Parallel()
	c := &channelOf{t: t, unacked: map[uint64]bool{}}
	a := newAcks(c, c.gather, 1, silent)
	a.taken(1)
	c.delivered(true, 1)
	a.ack(1)
	unacked, _ := c.left()
	require.Zero(t, unacked)
}
