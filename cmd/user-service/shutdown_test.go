package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// TestSIGTERMAnswersRequestsThatHaveBegun has clients whose requests the service is reading when it is
// told to stop.
func TestSIGTERMAnswersRequestsThatHaveBegun(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t)
	address := strings.TrimPrefix(p.base, "http://")
	const clients = 5
	var conns [clients]net.Conn
	var replies [clients]*bufio.Reader
	bodies := [clients]string{}
	for n := range conns {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		bodies[n] = fmt.Sprintf(`{"name": "Late", "email": "late%d@example.com", "password": %q}`, n, goodPassword)
		_, err = fmt.Fprintf(conn, "POST /api/v1/users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(bodies[n]))
		require.NoError(t, err)
		conns[n], replies[n] = conn, bufio.NewReader(conn)
		line, err := replies[n].ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "100 Continue", "the handler reads")
		_, err = replies[n].ReadString('\n')
		require.NoError(t, err)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	servertest.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, "no new connections")
	for n := range conns {
		_, err := io.WriteString(conns[n], bodies[n])
		require.NoError(t, err)
	}
	for n := range replies {
		resp, err := http.ReadResponse(replies[n], nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 201, resp.StatusCode, "%s", body)
		require.True(t, resp.Close, "no further request comes over this connection")
	}
	require.NoError(t, p.cmd.Wait(), "%s", p.output)
	require.Equal(t, clients, count(t, s.open(t), `SELECT count(*) FROM auth.accounts WHERE email LIKE 'late%'`))
}
