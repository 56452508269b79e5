package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

func TestServerCutsOffWhatTakesLongerThanItsGrace(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	begun, cutOff := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(begun)
		<-req.Context().Done()
		close(cutOff)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, listener, handler, 50*time.Millisecond) }()
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	<-begun
	stop()
	require.ErrorIs(t, <-ended, context.DeadlineExceeded)
	<-cutOff
	require.Error(t, <-answered)
}

func TestServerThatCannotListenSaysSo(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	require.ErrorIs(t, web.Serve(t.Context(), listener, http.NotFoundHandler(), time.Second), net.ErrClosed)
}

// serve answers at the address until the test ends, and ends in order.
func serve(t *testing.T, handler http.Handler) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, listener, handler, time.Minute) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return listener.Addr().String()
}

func TestWhatIsNoRequestIsAnsweredInTheEnvelopeToo(t *testing.T) {
	t.Parallel()
	address := serve(t, newFace())
	for _, c := range []struct {
		sent   string
		status int
		code   string
	}{
		{"what is this\r\n\r\n", 400, "malformed_request"},
		{"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"}, // no Host
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_request"},
		{"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "malformed_request"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"},
		{"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417, "expectation_failed"},
		{"GET /" + strings.Repeat("x", 70_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers_too_large"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n", 431, "headers_too_large"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "transfer_encoding_unknown"},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "version_not_supported"},
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, err = io.WriteString(conn, c.sent)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "%.80s", c.sent)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var e map[string]any
		require.NoError(t, json.Unmarshal(body, &e), "%s", body)
		require.Equal(t, c.status, resp.StatusCode, "%.80s", c.sent)
		require.Equal(t, false, e["success"])
		require.Equal(t, c.code, e["error"], "%.80s", c.sent)
		require.NotEmpty(t, e["message"])
		require.NotEmpty(t, resp.Header.Get("X-Correlation-ID"))
		require.True(t, resp.Close)
		require.NoError(t, conn.Close())
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newFace())
	t.Cleanup(server.Close)
	get, err := http.Get(server.URL + "/api/v1/echo/")
	require.NoError(t, err)
	require.NoError(t, get.Body.Close())
	head, err := http.Head(server.URL + "/api/v1/echo/")
	require.NoError(t, err)
	body, err := io.ReadAll(head.Body)
	require.NoError(t, err)
	require.NoError(t, head.Body.Close())
	require.Equal(t, 200, head.StatusCode)
	require.Empty(t, body)
	require.Equal(t, get.ContentLength, head.ContentLength)
}
