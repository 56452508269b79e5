package web_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
	"user-service/platform/logging"
	"user-service/platform/web"
)

func observe(handler http.HandlerFunc) (f *face, w *httptest.ResponseRecorder) {
	defer func() {
		p := recover()
		if cause, _ := p.(error); p != nil && !errors.Is(cause, http.ErrAbortHandler) { // which has a server hang up
			panic(p)
		}
	}()
	f = &face{log: new(bytes.Buffer), registry: prometheus.NewRegistry()}
	f.Handler = web.Observe(handler, logging.New(f.log, slog.LevelInfo, false), f.registry)
	w = httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return f, w
}

func TestPanicAfterTheReplyHasBegunAddsNothingToIt(t *testing.T) {
	t.Parallel()
	f, w := observe(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("begun"))
		panic("secret cause")
	})
	require.Equal(t, 200, w.Code)
	require.Equal(t, "begun", w.Body.String())
	require.Contains(t, f.log.String(), "secret cause")
	require.Contains(t, f.log.String(), "observe_test.go", "where it was")
	require.Contains(t, f.log.String(), `"status":200`)
}

func TestPanicThatQuotesAnAddressIsLoggedWithoutIt(t *testing.T) {
	t.Parallel()
	f, w := observe(func(http.ResponseWriter, *http.Request) { panic("no such user: ada@example.com") })
	require.Equal(t, 500, w.Code)
	require.Contains(t, f.log.String(), "no such user")
	require.NotContains(t, f.log.String(), "example.com")
}

func TestReplyWithoutAnExplicitStatusIsCountedAs200(t *testing.T) {
	t.Parallel()
	f, _ := observe(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	require.Contains(t, f.log.String(), `"bytes":2`)
	families, err := f.registry.Gather()
	require.NoError(t, err)
	require.Contains(t, families[0].String(), `value:"200"`)
}

func TestHandlerReachesTheConnectionThroughTheObserver(t *testing.T) {
	t.Parallel()
	var err error
	_, w := observe(func(w http.ResponseWriter, _ *http.Request) { err = http.NewResponseController(w).Flush() })
	require.NoError(t, err)
	require.True(t, w.Flushed)
}

func TestHandlerIsToldTheIDsOfItsRequest(t *testing.T) {
	t.Parallel()
	want := correlation.IDs{Correlation: "mine", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	var got correlation.IDs
	handler := web.Observe(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		got = correlation.From(req.Context())
	}), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("x-correlation-id", want.Correlation)
	req.Header.Set("traceparent", want.Traceparent)
	handler.ServeHTTP(httptest.NewRecorder(), req)
	require.Equal(t, want, got)
}

// A client that closes the tab is no fault of ours, and no alarm.
func TestClientWhoLeavesIsNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	log := logging.New(&lines, slog.LevelInfo, false)
	r := web.NewRouter(web.Settings{Log: log})
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/slow/"}, func(ctx context.Context, _ web.None) (web.None, error) {
		return web.None{}, ctx.Err()
	})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/slow", nil))
	require.Equal(t, 499, w.Code, "no 5xx to be counted")
	require.NotContains(t, lines.String(), "ERROR")
}
