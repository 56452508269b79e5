package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
	"user-service/platform/ratelimit"
	"user-service/platform/web"
)

// few is counted in process: Redis is the business of package ratelimit.
var few = ratelimit.Limit{Name: "few", Rate: 1, Per: time.Hour, Burst: 3, Local: true}

// newLimited is a router behind 10.0.0.0/8 with an endpoint that an address may ask few times.
func newLimited() *face {
	log := slog.New(slog.DiscardHandler)
	limiter := ratelimit.New(nil, make([]byte, 32), "", log)
	r := web.NewRouter(web.Settings{
		Log: log, Limiter: limiter,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		Authority: identity.Authority{
			Token: func(_ context.Context, sent string) (identity.Principal, error) {
				return identity.Principal{UserID: sent}, nil
			},
			Key: func(context.Context, string) (identity.Principal, error) {
				return identity.Principal{Service: "gateway"}, nil
			},
			Staff: func(context.Context, string) (bool, error) { return true, nil },
		},
	})
	type thing struct {
		Name string `json:"name"`
	}
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/few/", Message: "Done.", PerAddress: few},
		func(context.Context, thing) (web.None, error) { return web.None{}, nil })
	nothing := func(context.Context, web.None) (web.None, error) { return web.None{}, nil }
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/open/", Message: "Done."}, nothing)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/me/", Access: web.Bearer, Message: "Done."}, nothing)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/internal/", Access: web.Service, Message: "Done.", PerAddress: few}, nothing)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/client/", Message: "Done."},
		func(ctx context.Context, _ web.None) (string, error) { return identity.ClientFrom(ctx).Address, nil })
	return &face{Handler: web.Observe(r, log, prometheus.NewRegistry())}
}

// from asks for /few/ as a peer for which a proxy may speak.
func (f *face) from(t *testing.T, peer, forwarded, content string) (*http.Response, envelope) {
	t.Helper()
	req := httptest.NewRequest("POST", "/api/v1/few/", strings.NewReader(content))
	req.RemoteAddr = peer
	req.Header.Set("Content-Type", "application/json")
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	return f.send(t, req)
}

func TestAddressThatAsksTooOftenIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := newLimited()
	for left := 2; left >= 0; left-- {
		resp, _ := f.from(t, "192.0.2.1:1", "", `{"name":"a"}`)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "3", resp.Header.Get("RateLimit-Limit"))
		require.Equal(t, strconv.Itoa(left), resp.Header.Get("RateLimit-Remaining"))
		require.Empty(t, resp.Header.Get("Retry-After"))
	}
	resp, e := f.from(t, "192.0.2.1:2", "", `{not even JSON`)
	require.Equal(t, 429, resp.StatusCode, "before the body is read")
	require.False(t, e.Success)
	require.Equal(t, "rate_limited", e.Error)
	require.NotEmpty(t, e.Message)
	require.Equal(t, "0", resp.Header.Get("RateLimit-Remaining"))
	for name, most := range map[string]int{"Retry-After": 3600, "RateLimit-Reset": 3 * 3600} {
		seconds, err := strconv.Atoi(resp.Header.Get(name))
		require.NoError(t, err, name)
		require.InDelta(t, most, seconds, 60, name)
	}
	resp, _ = f.from(t, "192.0.2.2:1", "", `{"name":1}`)
	require.Equal(t, 400, resp.StatusCode, "another address")
	require.Equal(t, "2", resp.Header.Get("RateLimit-Remaining"), "told with every reply, and what is wrong counts")
}

func TestNetworkOfAnIPv6ClientIsOneAddress(t *testing.T) {
	t.Parallel()
	f := newLimited()
	for n := range few.Burst {
		resp, _ := f.from(t, "[2001:db8:0:1::"+strconv.Itoa(n)+"]:1", "", `{"name":"a"}`)
		require.Equal(t, 200, resp.StatusCode)
	}
	resp, _ := f.from(t, "[2001:db8:0:1:ffff::1]:1", "", `{"name":"a"}`)
	require.Equal(t, 429, resp.StatusCode)
	resp, _ = f.from(t, "[2001:db8:0:2::1]:1", "", `{"name":"a"}`)
	require.Equal(t, 200, resp.StatusCode)
}

func TestNobodyEscapesALimitByAForgedForwardedFor(t *testing.T) {
	t.Parallel()
	f := newLimited()
	for n := range few.Burst {
		f.from(t, "192.0.2.1:1", "203.0.113."+strconv.Itoa(n), `{"name":"a"}`)
	}
	resp, _ := f.from(t, "192.0.2.1:1", "203.0.113.99", `{"name":"a"}`)
	require.Equal(t, 429, resp.StatusCode, "no proxy of ours")
	resp, _ = f.from(t, "10.0.0.1:1", "203.0.113.99, 192.0.2.1", `{"name":"a"}`)
	require.Equal(t, 429, resp.StatusCode, "what a client tells our proxy")
	resp, _ = f.from(t, "10.0.0.1:1", "192.0.2.9", `{"name":"a"}`)
	require.Equal(t, 200, resp.StatusCode, "another client of the proxy")
}

func TestForwardedForIsBelievedAsFarAsTrustedProxiesWroteIt(t *testing.T) {
	t.Parallel()
	f := newLimited()
	for _, c := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1", []string{"203.0.113.7"}, "192.0.2.1"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"198.51.100.1", "203.0.113.7,10.0.0.2 ,10.0.0.3"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"198.51.100.1,203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
		{"10.0.0.1:1", []string{"203.0.113.7, garbage, 10.0.0.3"}, "10.0.0.3"},
		{"10.0.0.1:1", []string{"203.0.113.7,"}, "10.0.0.1"},
		{"10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"10.0.0.1:1", []string{"203.0.113.7:4711"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"[2001:db8::1]:4711, ::ffff:10.0.0.9"}, "2001:db8::1"},
		{"[fd00::1]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"[::ffff:10.0.0.1]:1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"[fe80::1%eth0]:1", []string{"203.0.113.7"}, "fe80::1"},
		{"@", []string{"203.0.113.7"}, ""},
	} {
		req := httptest.NewRequest("GET", "/api/v1/client", nil)
		req.RemoteAddr = c.peer
		req.Header["X-Forwarded-For"] = c.forwarded
		_, e := f.send(t, req)
		require.JSONEq(t, strconv.Quote(c.want), string(e.Data), "%+v", c)
	}
}

func TestUserIsSlowedFarAboveWhatPeopleDoAndASiblingNever(t *testing.T) {
	t.Parallel()
	f := newLimited()
	resp, _ := f.get(t, "/api/v1/open")
	require.Empty(t, resp.Header.Get("RateLimit-Limit"))
	refused := 0
	for range 2000 {
		resp, e := f.get(t, "/api/v1/me", "Authorization", "Bearer user-1")
		if refused == 0 {
			require.Contains(t, []int{200, 429}, resp.StatusCode)
			require.Equal(t, "300", resp.Header.Get("RateLimit-Limit"))
		}
		if resp.StatusCode == 429 {
			require.Equal(t, "rate_limited", e.Error)
			require.Equal(t, "1", resp.Header.Get("Retry-After"))
			refused++
		}
	}
	require.Positive(t, refused)
	resp, _ = f.get(t, "/api/v1/me", "Authorization", "Bearer user-2")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "299", resp.Header.Get("RateLimit-Remaining"))
	for range 2000 {
		resp, _ = f.get(t, "/api/v1/internal", "X-API-Key", "key")
		require.Equal(t, 200, resp.StatusCode)
		require.Empty(t, resp.Header.Get("RateLimit-Limit"))
	}
	for range few.Burst {
		f.get(t, "/api/v1/internal", "Authorization", "Bearer staff-1")
	}
	resp, _ = f.get(t, "/api/v1/internal", "Authorization", "Bearer staff-1")
	require.Equal(t, 429, resp.StatusCode, "a person is no sibling")
}
