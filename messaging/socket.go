package messaging

import (
	"net"
	"sync"
)

// socket is a connection to the broker that can gather what is written to it into few packets. amqp091 sends
// each message in one of its own: RabbitMQ then takes 17 us of processor time for each, and 11 when sixteen come
// together.
type socket struct {
	net.Conn
	mu        sync.Mutex
	gathering int // how many gather
	gathered  []byte
}

const maxGathered = 64 << 10 // bytes

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gathering == 0 {
		return s.Conn.Write(b)
	}
	s.gathered = append(s.gathered, b...)
	if len(s.gathered) < maxGathered {
		return len(b), nil
	}
	return len(b), s.send()
}

// gather keeps what is written, by anybody, until done is called, or there is much of it.
func (s *socket) gather() (done func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathering++
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gathering--
		return s.send()
	}
}

// send is net.Conn's Write of all that was gathered. After an error the connection is of no use any more.
func (s *socket) send() error {
	if len(s.gathered) == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.gathered)
	s.gathered = s.gathered[:0]
	return err
}
