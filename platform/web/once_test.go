package web_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/fault"
	"user-service/platform/idempotency"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
	"user-service/platform/web"
)

type wish struct {
	Text string `json:"text"`
}

// TestOnlyWhatAnotherTryWouldNotMendIsKept has an endpoint fail in each way, once.
func TestOnlyWhatAnotherTryWouldNotMendIsKept(t *testing.T) {
	t.Parallel()
	db := servertest.OpenDatabase(t, migrations.Files)
	replies, err := idempotency.New(db, []byte("a secret key of the tests, long enough"))
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	r := web.NewRouter(web.Settings{Replies: replies, Log: log})
	tried := map[string]int{}
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/try/"}, func(ctx context.Context, in wish) (wish, error) {
		tried[in.Text]++
		if tried[in.Text] > 1 {
			return in, nil
		}
		switch in.Text {
		case "internal":
			return in, errors.New("a fault of ours")
		case "away":
			return in, fault.Away(nil)
		case "panic":
			panic("a fault of ours")
		case "refused":
			return in, fault.New(fault.Forbidden, "forbidden", "No.")
		case "rolled back":
			return web.InTx(ctx, db, func(context.Context) (wish, error) { return in, errors.New("a fault of ours") })
		case "refused at the commit":
			return web.InTx(ctx, db, func(ctx context.Context) (wish, error) {
				return in, postgres.BeforeCommit(ctx, func(context.Context) error { return errors.New("a fault of ours") })
			})
		case "committed":
			return web.InTx(ctx, db, func(context.Context) (wish, error) { return in, nil })
		}
		return in, nil
	})
	handler := web.Observe(r, log, prometheus.NewRegistry())
	ask := func(text string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", "/api/v1/try/", strings.NewReader(`{"text":"`+text+`"}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Request-ID", text)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w
	}
	for text, status := range map[string]int{"internal": 500, "away": 503, "panic": 500, "rolled back": 500, "refused at the commit": 500} {
		require.Equal(t, status, ask(text).Code, text)
		again := ask(text)
		require.Equal(t, 200, again.Code, text)
		require.Empty(t, again.Header().Get("Idempotency-Replayed"), text)
		require.Equal(t, 2, tried[text])
	}
	for text, status := range map[string]int{"refused": 403, "committed": 200, "no transaction": 200} {
		first := ask(text)
		require.Equal(t, status, first.Code, text)
		again := ask(text)
		require.Equal(t, status, again.Code, text)
		require.Equal(t, first.Body.String(), again.Body.String())
		require.Equal(t, "true", again.Header().Get("Idempotency-Replayed"), text)
		require.Equal(t, 1, tried[text])
	}
}
