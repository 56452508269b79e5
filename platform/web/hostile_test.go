package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

// piped is a listener whose connections are in memory, where a test's own time rules.
type piped chan net.Conn

func (p piped) Accept() (net.Conn, error) {
	conn, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p piped) Close() error {
	close(p)
	return nil
}

func (p piped) Addr() net.Addr { return &net.TCPAddr{} }

func (p piped) dial() net.Conn {
	client, server := net.Pipe()
	p <- server
	return client
}

// drip sends text a byte a second, and says how long it was listened to.
func drip(conn net.Conn, text string) time.Duration {
	begin := time.Now()
	for _, b := range []byte(text) {
		<-time.After(time.Second)
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
	}
	return time.Since(begin)
}

// TestWhoSendsSlowlyIsCutOff and holds up nobody meanwhile.
func TestWhoSendsSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener := make(piped)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- web.Serve(ctx, listener, newFace(), time.Minute) }()
		listened := make(chan time.Duration, 1)
		limits := map[string]time.Duration{
			"": 5 * time.Second, // by its headers
			"POST /api/v1/echo/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{": 30 * time.Second, // by its body
		}
		for begun, limit := range limits {
			conn := listener.dial()
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, err := io.WriteString(conn, begun)
			require.NoError(t, err)
			go func() { listened <- drip(conn, "GET / HTTP/1.1\r\n"+strings.Repeat("X: y\r\n", 100)) }()
			<-time.After(2 * time.Second)
			quick := listener.dial()
			go func() { _, _ = io.WriteString(quick, "GET /api/v1/echo/ HTTP/1.1\r\nHost: a\r\n\r\n") }()
			resp, err := http.ReadResponse(bufio.NewReader(quick), nil)
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.NoError(t, quick.Close())
			require.LessOrEqual(t, <-listened, limit+2*time.Second)
		}
		stop()
		require.NoError(t, <-ended)
	})
}

// TestNoRequestIsHiddenInAnother: where two readers of one connection could disagree on where a request
// ends, nothing after it is read as another one.
func TestNoRequestIsHiddenInAnother(t *testing.T) {
	t.Parallel()
	hosts, err := web.ParseHosts("*")
	require.NoError(t, err)
	address := serve(t, web.Guard(newFace(), web.Guarding{Hosts: hosts}))
	const hidden = "GET /api/v1/echo/ HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, headers := range map[string]string{
		"two lengths":                   "Content-Length: 0\r\nContent-Length: 5",
		"a length that is none":         "Content-Length: +0",
		"a list of lengths":             "Content-Length: 0, 5",
		"a length and chunks":           fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked", len("0\r\n\r\n"+hidden)),
		"chunks and a length":           "Transfer-Encoding: chunked\r\nContent-Length: 4",
		"a space before the colon":      "Content-Length : 0",
		"chunks with a space before":    "Transfer-Encoding : chunked",
		"two encodings":                 "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
		"an encoding that is none":      "Transfer-Encoding: xchunked",
		"an encoding behind a tab":      "Transfer-Encoding:\tchunked, identity",
		"a line that goes on":           "X: y\r\n Content-Length: 5",
		"a line break that is none":     "X: y\rContent-Length: 5",
		"a null character":              "X: \x00",
		"chunks of a length in letters": "Transfer-Encoding: chunked\r\n\r\nzz",
		"an encoding before its time":   "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		version := "1.1"
		if name == "an encoding before its time" {
			version = "1.0"
		}
		_, err = io.WriteString(conn, "POST /api/v1/none/ HTTP/"+version+"\r\nHost: a\r\nContent-Type: application/json\r\n"+headers+"\r\n\r\n0\r\n\r\n"+hidden)
		require.NoError(t, err)
		answers := bufio.NewReader(conn)
		var statuses []int
		for {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			statuses = append(statuses, resp.StatusCode)
		}
		require.NoError(t, conn.Close())
		require.NotEmpty(t, statuses, name)
		require.NotContains(t, statuses, http.StatusOK, name) // as the hidden one would be answered
	}
}

// TestTenMegabytesOfHeadersAreNotRead to their end.
func TestTenMegabytesOfHeadersAreNotRead(t *testing.T) {
	t.Parallel()
	address := serve(t, newFace())
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET /api/v1/echo/ HTTP/1.1\r\nHost: a\r\n")
	require.NoError(t, err)
	line := []byte("X: " + strings.Repeat("x", 10_000) + "\r\n")
	sent := 0
	for err == nil && sent < 10<<20 {
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(10*time.Second)))
		var n int
		n, err = conn.Write(line)
		sent += n
	}
	require.Error(t, err, "the connection is closed")
	require.Less(t, sent, 10<<20)
	require.NoError(t, conn.Close())
}
