package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestTenThousandRandomRequestsGetTheEnvelopeAndNoFaultOfOurs makes them from the API's document: its
// paths, parameters and fields, with values that are right, nearly right and far from it.
func TestTenThousandRandomRequestsGetTheEnvelopeAndNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, func(c *config) { c.TestNotifications = true })
	document, err := described()
	require.NoError(t, err)
	key, err := i.app.auth.CreateServiceKey(t.Context(), "random")
	require.NoError(t, err)
	admin := s.staff(i)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	const workers, each = 8, 1250
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(n))), key: key, staff: admin.AccessToken}
			for sent := range each {
				if sent%250 == 0 { // it may have left, or have been sent away
					g.user = i.register()
				}
				g.send(t, i, document, fmt.Sprintf("seed %d, worker %d, request %d", seed, n, sent))
			}
		})
	}
	all.Wait()
}

// generator makes requests; it belongs to one goroutine.
type generator struct {
	*rand.Rand
	key, staff string
	user       tokens
}

func pick[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

// dear operations are asked for seldom: they hash, or answer with much that is always the same.
var dear = regexp.MustCompile(`login|password-change|swagger|redoc|openapi`)

func (g *generator) send(t *testing.T, i *instance, d *document, which string) {
	t.Helper()
	o := pick(g, d.operations...)
	for dear.MatchString(o.path) && g.IntN(10) > 0 {
		o = pick(g, d.operations...)
	}
	method := o.method
	if g.IntN(20) == 0 {
		method = pick(g, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
	}
	target := i.base + filled(o.path, g.id()) + g.query()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(g.body()))
	require.NoError(t, err, which)
	g.decorate(req)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err, which)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err, which)
	which += fmt.Sprintf(": %s %s answers %d %s", method, target, resp.StatusCode, body)
	require.Less(t, resp.StatusCode, 500, which)
	require.NotEmpty(t, resp.Header.Get("X-Correlation-ID"), which)
	if method == http.MethodHead || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || strings.HasSuffix(o.path, ".json/") || resp.StatusCode == 204 {
		return
	}
	var e struct {
		Success *bool
		Message string
	}
	if !strings.Contains(o.path, ".json") || resp.StatusCode >= 400 {
		require.NoError(t, json.Unmarshal(body, &e), which)
		require.NotNil(t, e.Success, which)
		require.NotEmpty(t, e.Message, which)
	}
	readable := resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge // else answered before it is known what is asked for
	if readable && req.URL.Path == filled(o.path, g.user.id()) && method == o.method {
		d.judge(t, req, resp.StatusCode, resp.Header, body)
	}
}

func (g *generator) id() string {
	return pick(g, g.user.id(), g.user.id(), uuid.NewString(), strings.ToUpper(g.user.id()), "00000000-0000-0000-0000-000000000000", "me", "1", "%00", "..%2f", "'")
}

func (g *generator) query() string {
	if g.IntN(2) == 0 {
		return ""
	}
	values := url.Values{}
	for range g.IntN(4) {
		values.Add(pick(g, "page", "limit", "search", "ordering", "is_active", "email_verified", "type", g.text()), g.text())
	}
	return "?" + values.Encode() + pick(g, "", "", "&&=;", "&page=1&page=2")
}

// text is right for something now and then.
func (g *generator) text() string {
	return pick(g, "", "1", "-1", "2", "100", "101", "99999999999999999999", "true", "false", "email", "push", "name", "-created_at", "ada", "grace h",
		"null", "NaN", "'; DROP TABLE auth.accounts; --", "%", "_%_", "\x00", "a\nb", "\u202eabc", "ﷺ", "Zoë 王小明 👩‍👩‍👧", "\xff\xfe", "{{.}}", "${jndi:ldap://x}",
		strings.Repeat("x", 300), strings.Repeat("é", 5000), "a@example.com", "a@b", "correct horse battery", g.user.id(), g.user.RefreshToken, g.user.AccessToken)
}

func (g *generator) body() string {
	switch g.IntN(12) {
	case 0:
		return pick(g, "", "{", "[]", "null", "\"x\"", "{}{}", "{\"a\":}", "\xff", "\ufeff{}", "{\"email\":\"a\",\"email\":\"b\"}")
	case 1:
		depth := pick(g, 10, 500, 20_000)
		return strings.Repeat(`{"a":[`, depth) + strings.Repeat(`]}`, depth)
	case 2:
		if g.IntN(10) == 0 {
			return `{"name":"` + strings.Repeat("x", 2<<20) + `"}`
		}
	}
	fields := map[string]any{}
	for range g.IntN(6) {
		fields[pick(g, "name", "email", "password", "password_confirm", "current_password", "push_token", "preferences", "push", "token", "refresh",
			"refresh_token", "is_active", "is_staff", "template_code", "variables", "priority", "metadata", "id", "Email", "__proto__", g.text())] = g.value(3)
	}
	encoded, _ := json.Marshal(fields) // texts that are not UTF-8 become so
	return string(encoded)
}

func (g *generator) value(depth int) any {
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return pick[any](g, 0, -1, 1e300, 1.5, 1<<53)
	case 3:
		if depth > 0 {
			return []any{g.value(depth - 1), g.value(depth - 1)}
		}
	case 4:
		if depth > 0 {
			return map[string]any{pick(g, "email", "push", g.text()): g.value(depth - 1)}
		}
	}
	return g.text()
}

func (g *generator) decorate(req *http.Request) {
	req.Header.Set("Content-Type", pick(g, "application/json", "application/json", "application/json; charset=utf-8", "text/plain", "application/json; charset=latin1", "a/b/c", ""))
	switch g.IntN(5) {
	case 0:
		req.Header.Set("Authorization", pick(g, "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "bearer "+g.user.AccessToken, "Bearer "+g.user.RefreshToken))
	case 1:
		req.Header.Set("X-API-Key", pick(g, g.key, g.key, "usk_x", strings.Repeat("k", 9000)))
	case 2:
		req.Header.Set("Authorization", "Bearer "+g.staff)
	case 3:
		req.Header.Set("Authorization", "Bearer "+g.user.AccessToken)
	}
	for _, odd := range [][2]string{
		{"X-Request-ID", pick(g, "a", uuid.NewString(), strings.Repeat("x", 256), "ü")}, {"X-Correlation-ID", pick(g, "ok", "a b", strings.Repeat("x", 200))},
		{"traceparent", pick(g, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x")}, {"Origin", pick(g, "http://localhost:3000", "https://evil.example", "null")},
		{"X-Forwarded-For", pick(g, "1.2.3.4", "x,,,")}, {"Accept", "text/html;q=0"}, {"Cookie", "a=b"}, {"Range", "bytes=0-1"}, {"Expect", "100-continue"},
		{"Accept-Encoding", "br"}, {"X-HTTP-Method-Override", "DELETE"},
	} {
		if g.IntN(6) == 0 {
			req.Header.Set(odd[0], odd[1])
		}
	}
}
