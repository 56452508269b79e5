package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

type report struct {
	Success bool
	Error   string
	Data    struct {
		Service, Status string
		Timestamp       time.Time
		Checks          map[string]string
	}
}

// healthOf asks a router whose servers answer as given.
func healthOf(t *testing.T, path string, database, broker func(context.Context) error) (int, report, http.Header) {
	t.Helper()
	r := web.NewRouter(web.Settings{Log: slog.New(slog.DiscardHandler)})
	all := []web.Check{{Name: "database", Required: true, Probe: database}, {Name: "broker", Probe: broker}}
	r.AddHealth("user-service", all, all[:1])
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var got report
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got), "%s", w.Body)
	require.NotContains(t, w.Body.String(), "10.0.0.1")
	return w.Code, got, w.Header()
}

func up(context.Context) error   { return nil }
func down(context.Context) error { return errors.New("dial 10.0.0.1: refused") }

func TestHealthIsThatOfTheServersBehindIt(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/health", "/health/", "/api/v1/health/", "/api/v1/health"} {
		status, got, _ := healthOf(t, path, up, up)
		require.Equal(t, 200, status, path)
		require.Equal(t, "healthy", got.Data.Status)
		require.Equal(t, "user-service", got.Data.Service)
		require.WithinDuration(t, time.Now(), got.Data.Timestamp, time.Minute)

		status, got, _ = healthOf(t, path, up, down)
		require.Equal(t, 200, status, path)
		require.Equal(t, "degraded", got.Data.Status)
		require.Equal(t, map[string]string{"database": "up", "broker": "down"}, got.Data.Checks)

		status, got, header := healthOf(t, path, down, up)
		require.Equal(t, 503, status, path)
		require.False(t, got.Success)
		require.Equal(t, "unavailable", got.Error)
		require.Equal(t, "unhealthy", got.Data.Status)
		require.NotEmpty(t, header.Get("Retry-After"))
	}
	status, got, _ := healthOf(t, "/health/live/", down, down)
	require.Equal(t, 200, status, "the process lives")
	require.Equal(t, "healthy", got.Data.Status)
}

func TestProcessIsReadyWhenItCanDoItsPart(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/health/ready", "/health/ready/", "/api/v1/health/ready/"} {
		status, got, _ := healthOf(t, path, up, down)
		require.Equal(t, 200, status, path)
		require.Equal(t, "healthy", got.Data.Status, "the broker is not asked")
		require.Equal(t, map[string]string{"database": "up"}, got.Data.Checks)

		status, got, header := healthOf(t, path, down, up)
		require.Equal(t, 503, status, path)
		require.Equal(t, []string{"unavailable", "unhealthy"}, []string{got.Error, got.Data.Status})
		require.NotEmpty(t, header.Get("Retry-After"))
	}
}

func TestHealthCheckIsBoundedAndSharedForAMoment(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	hang := func(context.Context) error { // and does not look at its context
		asked.Add(1)
		<-ended
		return nil
	}
	r := web.NewRouter(web.Settings{Log: slog.New(slog.DiscardHandler)})
	r.AddHealth("user-service", []web.Check{{Name: "broker", Probe: hang}}, nil)
	start := time.Now()
	for range 20 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
		require.Equal(t, 200, w.Code)
	}
	require.Less(t, time.Since(start), 10*time.Second)
	require.LessOrEqual(t, asked.Load(), int64(3))
}

func TestServerFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	begun, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, listener, handler, 10*time.Second) }()
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		answered <- fmt.Sprintf("%s, closed: %t", text, resp.Close)
	}()
	<-begun
	cancel()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 5*time.Second, 5*time.Millisecond, "no new connections")
	close(release)
	require.Equal(t, "finished, closed: true", <-answered, "no further request comes over this connection")
	require.NoError(t, <-ended)
}
