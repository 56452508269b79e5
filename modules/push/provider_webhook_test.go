package push

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/messaging"
)

func TestWebhookAnswersAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		header     string
		body       string
		id         string
		dead       bool
		rejected   bool
		away       bool
		retryAfter time.Duration
	}{
		"accepted":            {status: 200, body: `{"id":"m-1"}`, id: "m-1"},
		"a number as id":      {status: 201, body: `{"id":17}`, id: "17"},
		"a long number as id": {status: 200, body: `{"id":12345678901234567890}`, id: "12345678901234567890"},
		"an id of no use":     {status: 200, body: `{"id":"a\u0000b"}`},
		"an object as id":     {status: 200, body: `{"id":{}}`},
		"no id":               {status: 204},
		"noise":               {status: 200, body: `<html>`},
		"gone":                {status: 410, dead: true},
		"bad request":         {status: 400, rejected: true},
		"unauthorized":        {status: 401, rejected: true},
		"not found":           {status: 404, rejected: true},
		"too many":            {status: 429, away: true, header: "7", retryAfter: 7 * time.Second},
		"too many, unlimited": {status: 429, away: true, header: "99999999999999999999"},
		"broken":              {status: 500, away: true},
		"unavailable":         {status: 503, away: true, header: "120", retryAfter: 2 * time.Minute},
		"moved":               {status: 302, away: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			id, err := NewWebhookProvider(server.URL, 1).Send(t.Context(), Notification{RequestID: "r"})
			require.Equal(t, test.id, id)
			require.Equal(t, test.dead, errors.Is(err, ErrDeadToken))
			_, rejected := errors.AsType[*Rejected](err)
			require.Equal(t, test.rejected, rejected)
			away, isAway := errors.AsType[*Away](err)
			require.Equal(t, test.away, isAway, "%v", err)
			if isAway {
				require.Equal(t, test.retryAfter, away.RetryAfter)
				require.Equal(t, test.status == 429, away.Busy)
			}
		})
	}
}

func TestSilentWebhookIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := NewWebhookProvider(server.URL, 1).Send(t.Context(), Notification{})
	require.ErrorAs(t, err, new(*Away))
}

func TestOnlyAnOutageOpensTheBreaker(t *testing.T) {
	t.Parallel()
	status := http.StatusBadRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	g := guard(NewWebhookProvider(server.URL, 1), 5, slog.New(slog.DiscardHandler))
	for _, judged := range []int{400, 410, 429} {
		status = judged
		for range 2 * tripAfter {
			_, err := g.Send(t.Context(), Notification{})
			require.NotErrorIs(t, err, messaging.ErrBreakerOpen, judged)
		}
	}
	status = http.StatusBadGateway
	for range tripAfter {
		_, err := g.Send(t.Context(), Notification{})
		require.NotErrorIs(t, err, messaging.ErrBreakerOpen)
	}
	_, err := g.Send(t.Context(), Notification{})
	require.ErrorIs(t, err, messaging.ErrBreakerOpen)

	stop := make(chan struct{})
	close(stop)
	require.Nil(t, g.Wait(stop), "a consumer that stops does not wait")

	done := g.Wait(nil) // until it may be tried
	waiting := make(chan func())
	go func() { waiting <- g.Wait(nil) }()
	select {
	case <-waiting:
		t.Fatal("two tried at once")
	case <-time.After(3 * lookEvery): // long enough to have looked
	}
	status = http.StatusOK
	_, err = g.Send(t.Context(), Notification{})
	require.NoError(t, err)
	done()
	(<-waiting)()
}
