package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
	"user-service/platform/logging"
	"user-service/platform/ratelimit"
	"user-service/platform/web"
)

// signedInGet is a request of the hot path and the handler it goes through, without net/http itself.
func signedInGet() (http.Handler, *http.Request) {
	log := logging.New(io.Discard, slog.LevelInfo, false)
	limiter := ratelimit.New(nil, make([]byte, 32), "", log) // the hot path asks no Redis
	principal := identity.Principal{UserID: "0192d3a4-0000-7000-8000-000000000000", SessionID: "0192d3a4-0000-7000-8000-000000000001"}
	r := web.NewRouter(web.Settings{
		Authority: identity.Authority{Token: func(context.Context, string) (identity.Principal, error) { return principal, nil }},
		Limiter:   limiter, Log: log,
	})
	type profile struct {
		Name  string  `json:"name"`
		Token *string `json:"token"`
	}
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/profile/", Access: web.Bearer, Message: "This is your profile."},
		func(context.Context, web.None) (profile, error) { return profile{Name: "Ada"}, nil })
	req := httptest.NewRequest("GET", web.Base+"/users/profile/", nil)
	req.Header.Set("Authorization", "Bearer token")
	return web.Observe(r, log, prometheus.NewRegistry()), req
}

// blank is a ResponseWriter that is used again and again.
type blank struct{ header http.Header }

func (b blank) Header() http.Header         { return b.header }
func (b blank) Write(p []byte) (int, error) { return len(p), nil }
func (b blank) WriteHeader(int)             {}

func TestRequestOfTheHotPathAllocatesLittle(t *testing.T) {
	handler, req := signedInGet()
	w := blank{http.Header{}}
	// 40, and some more under the race detector.
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { handler.ServeHTTP(w, req) }), 58.0)
}

func BenchmarkSignedInGet(b *testing.B) {
	handler, req := signedInGet()
	w := blank{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, req)
	}
}
