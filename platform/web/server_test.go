package web_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
