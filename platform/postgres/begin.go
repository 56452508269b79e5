package postgres

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
)

// beginLater is a connection to the server that sends a BEGIN together with the statement after it: lib/pq
// waits for the answer to each by itself, so every transaction would take a round trip more. What lib/pq
// asks is answered as the server always does, and the server's own answer is left out when it comes.
//
// The BEGIN goes as a part of what follows, up to the same Sync: should it fail, the server skips the rest.
// A connection that was lost is found by the first statement then, which is not repeated as a BEGIN would be.
// Within TLS nothing of all this is seen, and nothing changes. It is used by one goroutine at a time.
type beginLater struct {
	net.Conn
	held   bool     // a BEGIN is not sent yet
	owed   [][]byte // its answers, the next that the server will say
	answer []byte   // what is to be read before anything else
	buffer [4096]byte
}

// Messages of the protocol, version 3: https://www.postgresql.org/docs/current/protocol-message-formats.html
var (
	beginOfPq     = []byte("Q\x00\x00\x00\x15BEGIN READ WRITE\x00") // Query, as lib/pq sends it
	beginAsPart   = []byte("P\x00\x00\x00\x18\x00BEGIN READ WRITE\x00\x00\x00" + "B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00" + "E\x00\x00\x00\x09\x00\x00\x00\x00\x00")
	parseComplete = []byte("1\x00\x00\x00\x04")
	bindComplete  = []byte("2\x00\x00\x00\x04")
	begun         = []byte("C\x00\x00\x00\x0aBEGIN\x00")
	ready         = []byte("Z\x00\x00\x00\x05T") // for the next, in a transaction
	syncNow       = []byte("S\x00\x00\x00\x04")
)

// Write implements net.Conn.
func (c *beginLater) Write(b []byte) (int, error) {
	switch {
	case !c.held && bytes.Equal(b, beginOfPq):
		c.held, c.answer = true, slices.Concat(begun, ready)
		return len(b), nil
	case !c.held:
		return c.Conn.Write(b)
	}
	begin := beginAsPart
	c.held, c.owed = false, [][]byte{parseComplete, bindComplete, begun}
	if b[0] == 'Q' { // which is no part of anything
		begin = slices.Concat(beginAsPart, syncNow)
		c.owed = append(c.owed, ready)
	}
	n, err := c.Conn.Write(slices.Concat(begin, b))
	return max(n-len(begin), 0), err
}

// Read implements net.Conn.
func (c *beginLater) Read(b []byte) (int, error) {
	if len(c.owed) > 0 {
		if err := c.leaveOut(); err != nil {
			_ = c.Close() // nobody knows what the next answer belongs to
			return 0, err
		}
	}
	if len(c.answer) > 0 {
		n := copy(b, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// leaveOut reads until nothing is owed any more. What the server may say at any time is passed on, and an
// error with all that follows.
func (c *beginLater) leaveOut() error {
	var unread []byte
	for len(c.owed) > 0 {
		message := first(unread)
		if message == nil {
			n, err := c.Conn.Read(c.buffer[:])
			if unread = append(unread, c.buffer[:n]...); err != nil && n == 0 {
				return err
			}
			continue
		}
		unread = unread[len(message):]
		apart := c.owed[len(c.owed)-1][0] == 'Z' // the statement would run although the BEGIN failed
		switch kind := message[0]; {
		case bytes.Equal(message, c.owed[0]):
			c.owed = c.owed[1:]
		case kind == 'S' || kind == 'N' || kind == 'A': // a setting, a notice, a notification
			c.answer = append(c.answer, message...)
		case kind == 'E' && !apart:
			c.owed, unread = nil, append(message, unread...)
		default:
			return io.ErrUnexpectedEOF
		}
	}
	c.answer = append(c.answer, unread...)
	return nil
}

// first is the first message of b: its kind, its length without that, and so much more; nil when it is not
// there as a whole.
func first(b []byte) []byte {
	if len(b) < 5 {
		return nil
	}
	length := 1 + int(binary.BigEndian.Uint32(b[1:5]))
	if length < 5 || len(b) < length {
		return nil
	}
	return b[:length:length]
}
