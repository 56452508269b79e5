//go:build unix

package postgres

import (
	"errors"
	"net"
	"syscall"
)

// silent reports whether the server has neither said anything nor closed the connection: on an idle
// one it speaks only to end it. It costs one system call that does not wait.
func silent(socket net.Conn) bool {
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && (errors.Is(peeked, syscall.EAGAIN) || errors.Is(peeked, syscall.EINTR))
}
