package web_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

// newGuarded is a face of every kind of endpoint that answers to hosts, for pages of one origin.
func newGuarded(t testing.TB, hosts string) *face {
	t.Helper()
	allowed, err := web.ParseHosts(hosts)
	require.NoError(t, err)
	inner := newFace()
	guarded := web.Guard(inner.router, web.Guarding{
		Hosts: allowed, Origins: []string{"https://app.example.com"}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	return &face{Handler: web.Observe(guarded, slog.New(slog.DiscardHandler), prometheus.NewRegistry())}
}

func TestOnlyAllowedHostsAreAnsweredTo(t *testing.T) {
	t.Parallel()
	const hosts = "localhost, 192.0.2.7,API.example.com.,[::1],fd00::7,.example.org,*.example.net"
	f := newGuarded(t, hosts)
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:8000": true, "LocalHost:1": true, "localhost.": true, "localhost.:80": true,
		"192.0.2.7": true, "192.0.2.7:80": true, "[::1]": true, "[::1]:8000": true, "[0:0:0::1]:80": true, "[fd00::7]": true,
		"api.example.com": true, "example.org": true, "a.b.Example.org": true, "a.example.net": true,
		"example.net": false, "badexample.org": false, "api.example.com.evil.com": false, "x.api.example.com": false, "example.com": false,
		"192.0.2.8": false, "[::2]": false, "": false, "localhost:80:80": false, "localhost:http": false, "localhost/": false,
		"local\x00host": false, "localhost@evil.com": false, ".": false, "..": false, "a..example.org": false, ".example.org": false,
	} {
		req := httptest.NewRequest("GET", "/api/v1/echo/", nil)
		req.Host = host
		resp, e := f.send(t, req)
		if ok {
			require.Equal(t, 200, resp.StatusCode, host)
			continue
		}
		require.Equal(t, 400, resp.StatusCode, host)
		require.Equal(t, "host_not_allowed", e.Error, host)
		require.NotContains(t, e.Message, "evil")
	}
	req := httptest.NewRequest("GET", "/api/v1/echo/", nil)
	req.Host = "anything?"
	resp, _ := newGuarded(t, "localhost,*").send(t, req)
	require.Equal(t, 200, resp.StatusCode)
	for _, wrong := range []string{"http://a.com", "a.com:80", "a/b", "*.*", "*a.com", ".", "a b", " , ", "-a.com"} {
		_, err := web.ParseHosts(wrong)
		require.Error(t, err, wrong)
	}
}

func TestPreflightOfAnAllowedPageNeedsNoToken(t *testing.T) {
	t.Parallel()
	f := newGuarded(t, "*")
	preflight := func(path, origin, method, headers string) http.Header {
		req := httptest.NewRequest("OPTIONS", path, nil)
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", method)
		req.Header.Set("Access-Control-Request-Headers", headers)
		w := httptest.NewRecorder()
		f.ServeHTTP(w, req)
		require.Equal(t, 204, w.Code)
		require.Contains(t, strings.Join(w.Header()["Vary"], ","), "Origin")
		require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"))
		return w.Header()
	}
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		header := preflight("/api/v1/me/", "https://app.example.com", method, "authorization,content-type,x-correlation-id,x-request-id")
		require.Equal(t, "https://app.example.com", header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, method, header.Get("Access-Control-Allow-Methods"))
		require.NotEmpty(t, header.Get("Access-Control-Allow-Headers"))
		require.NotEmpty(t, header.Get("Access-Control-Max-Age"))
	}
	for _, refused := range [][3]string{
		{"https://evil.example.com", "GET", ""}, {"http://app.example.com", "GET", ""}, {"null", "GET", ""},
		{"https://app.example.com", "TRACE", ""}, {"https://app.example.com", "GET", "x-api-key"},
	} {
		require.Empty(t, preflight("/api/v1/me/", refused[0], refused[1], refused[2]).Get("Access-Control-Allow-Origin"), refused)
	}
}

func TestRepliesAreReadByAllowedPagesOnly(t *testing.T) {
	t.Parallel()
	f := newGuarded(t, "*")
	for origin, allowed := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example.com": "", "": ""} {
		req := httptest.NewRequest("GET", "/api/v1/me/", nil)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, _ := f.send(t, req)
		require.Equal(t, 401, resp.StatusCode, "with its envelope")
		require.Equal(t, allowed, resp.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, []string{"Origin"}, resp.Header["Vary"])
		if allowed != "" {
			for _, name := range []string{"X-Correlation-Id", "Retry-After", "Idempotency-Replayed", "Ratelimit-Remaining"} {
				require.Contains(t, strings.ToLower(resp.Header.Get("Access-Control-Expose-Headers")), strings.ToLower(name))
			}
		}
	}
}

func TestRepliesTellBrowsersToTrustNothing(t *testing.T) {
	t.Parallel()
	f := newGuarded(t, "localhost")
	for _, c := range []struct{ host, peer, proto, hsts string }{
		{"localhost", "192.0.2.1:1", "", ""},
		{"localhost", "192.0.2.1:1", "https", ""},
		{"localhost", "10.0.0.1:1", "http", ""},
		{"localhost", "10.0.0.1:1", "https", "max-age=31536000"},
		{"evil.com", "10.0.0.1:1", "https", "max-age=31536000"},
	} {
		req := httptest.NewRequest("GET", "/api/v1/panic/", nil)
		req.Host, req.RemoteAddr = c.host, c.peer
		req.Header.Set("X-Forwarded-Proto", c.proto)
		resp, _ := f.send(t, req)
		require.Equal(t, c.hsts, resp.Header.Get("Strict-Transport-Security"), c)
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			require.Equal(t, value, resp.Header.Get(name), name)
		}
	}
}

// served is f behind a real server.
func served(t *testing.T, f http.Handler, changes ...func(*http.Server)) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(f)
	server.Config.DisableGeneralOptionsHandler = true
	for _, change := range changes {
		change(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// raw sends bytes as they are and reads one reply.
func raw(t *testing.T, address, sent string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: strings.SplitN(sent, " ", 2)[0]})
	require.NoError(t, err, sent)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestOddRequestsGetTheEnvelope(t *testing.T) {
	t.Parallel()
	address := served(t, newGuarded(t, "localhost"))
	for line, status := range map[string]int{
		"GET http://localhost/api/v1/echo/": 200,
		"GET http://evil.com/api/v1/echo/":  400,
		"OPTIONS *":                         404,
		"OPTIONS /api/v1/echo/":             405,
		"TRACE /api/v1/echo/":               405,
		"BREW /api/v1/echo/":                405,
		"PUT /api/v1/echo/":                 405,
		"CONNECT localhost:80":              404,
		"GET //":                            404,
		"GET //api/v1/echo/":                404,
		"GET /api//v1/echo/":                404,
		"GET /api/v1/echo//":                404,
		"GET /api/v1/../v1/echo/":           404,
		"GET /api/v1/%2e%2e/v1/echo/":       404,
		"GET /api/v1%2fecho/":               200,
		"GET /api/v1/echo%2f":               200,
		"GET /api/v1/things/%2f/":           404,
		"GET /api/v1/things/%00/":           404,
		"GET /api/v1/%ff/":                  404,
		"GET /" + strings.Repeat("a", 8192): 404,
		"GET /api/v1/echo/?%zz=%":           200,
		"GET /api/v1/things/?page=%zz;;&&":  400,
	} {
		resp, body := raw(t, address, line+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		require.Equal(t, status, resp.StatusCode, line)
		require.Equal(t, "application/json; charset=utf-8", resp.Header.Get("Content-Type"), line)
		if !strings.HasPrefix(line, "CONNECT") { // whose reply Go's client takes for a tunnel
			require.Contains(t, body, `"success":`, line)
		}
		require.NotEmpty(t, resp.Header.Get("X-Correlation-ID"), line)
	}
	resp, body := raw(t, address, "GET /api/v1/echo/ HTTP/1.0\r\n\r\n")
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, body, "host_not_allowed", "a client that names nobody")
}

func TestBodyThatTricklesIsCutOff(t *testing.T) {
	t.Parallel()
	address := served(t, newFace(), func(s *http.Server) { s.ReadTimeout = 100 * time.Millisecond })
	resp, body := raw(t, address, "POST /api/v1/echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.Equal(t, 408, resp.StatusCode)
	require.Contains(t, body, `"error":"request_timeout"`)
	require.True(t, resp.Close)
}

func TestReplyThatIsTornIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]any{"a panic": "secret cause", "a wish": http.ErrAbortHandler} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, strings.Repeat("half", 10_000))
			panic(cause)
		})
		address := served(t, web.Observe(handler, slog.New(slog.DiscardHandler), prometheus.NewRegistry()))
		resp, err := http.Get("http://" + address)
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, resp.Body.Close())
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
	}
}
