package postgres

import (
	"bytes"
	"io"
	"net"
	"slices"
)

// beginLater is a connection to the server that sends a BEGIN together with the statement after it: lib/pq
// waits for the answer to each by itself, so every transaction would take a round trip more. What lib/pq
// asks is answered as the server always does, and the server's own answer is left out when it comes; should
// it be another one, lib/pq finds it where it expects that of the statement, and gives the connection up.
//
// Within TLS nothing of this is seen, and nothing changes. It is used by one goroutine at a time.
type beginLater struct {
	net.Conn
	held   bool   // a BEGIN is not sent yet
	owed   bool   // its answer is the next thing the server will say
	answer []byte // what is to be read before anything else
}

// Messages of the protocol, version 3: https://www.postgresql.org/docs/current/protocol-message-formats.html
var (
	beginOfPq = []byte("Q\x00\x00\x00\x15BEGIN READ WRITE\x00")                  // Query, as lib/pq sends it
	beginSent = []byte("Q\x00\x00\x00\x0aBEGIN\x00")                             // the default is the same, and costs less
	begun     = []byte("C\x00\x00\x00\x0aBEGIN\x00" + "Z\x00\x00\x00\x05" + "T") // CommandComplete, ReadyForQuery
)

// Write implements net.Conn.
func (c *beginLater) Write(b []byte) (int, error) {
	switch {
	case !c.held && bytes.Equal(b, beginOfPq):
		c.held, c.answer = true, begun
		return len(b), nil
	case !c.held:
		return c.Conn.Write(b)
	}
	c.held, c.owed = false, true
	n, err := c.Conn.Write(slices.Concat(beginSent, b))
	return max(n-len(beginSent), 0), err
}

// Read implements net.Conn.
func (c *beginLater) Read(b []byte) (int, error) {
	if c.owed {
		answer := make([]byte, len(begun))
		n, err := io.ReadFull(c.Conn, answer)
		if err != nil {
			return 0, err
		}
		c.owed = false
		if !bytes.Equal(answer, begun) {
			c.answer = answer[:n]
		}
	}
	if len(c.answer) > 0 {
		n := copy(b, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
