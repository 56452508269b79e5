package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/logging"
	"user-service/platform/web"
)

// body is an input with a field of each kind.
type body struct {
	Text     string               `json:"text"`
	Flag     bool                 `json:"flag"`
	Optional *string              `json:"optional"`
	Nullable web.Nullable[string] `json:"nullable"`
	Nested   *struct {
		Number int `json:"number"`
	} `json:"nested"`
}

const token = "good-token"

// face is a router with an endpoint for each thing that can happen.
type face struct {
	http.Handler
	router   *web.Router
	log      *bytes.Buffer
	registry *prometheus.Registry
}

func newFace() *face {
	f := &face{log: new(bytes.Buffer), registry: prometheus.NewRegistry()}
	log := logging.New(&lockedWriter{w: f.log}, slog.LevelInfo, false)
	verify := func(_ context.Context, sent string) (identity.Principal, error) {
		switch sent {
		case "staff":
			return identity.Principal{UserID: "staff-1", SessionID: "session-2"}, nil
		case token:
			return identity.Principal{UserID: "user-1", SessionID: "session-1"}, nil
		case "old":
			return identity.Principal{}, identity.ErrTokenExpired
		}
		return identity.Principal{}, identity.ErrTokenInvalid
	}
	r := web.NewRouter(web.Settings{Log: log, Authority: identity.Authority{
		Token: verify,
		Key: func(_ context.Context, sent string) (identity.Principal, error) {
			if sent != "good-key" {
				return identity.Principal{}, identity.ErrServiceKeyInvalid
			}
			return identity.Principal{Service: "gateway"}, nil
		},
		Staff: func(_ context.Context, userID string) (bool, error) { return userID == "staff-1", nil },
	}})
	add := func(method, path string, access web.Access, fn func(context.Context, web.None) (any, error)) {
		web.Handle(r, web.Endpoint{Method: method, Path: path, Access: access, Message: "Done."}, fn)
	}
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/echo/", Also: "/parrot/", Status: 201, Message: "Echoed."},
		func(_ context.Context, in body) (body, error) { return in, nil })
	add("GET", "/echo/", web.Open, func(context.Context, web.None) (any, error) { return map[string]string{"tag": "<b>&"}, nil })
	add("GET", "/me/", web.Bearer, func(ctx context.Context, _ web.None) (any, error) {
		principal, _ := identity.From(ctx)
		return principal, nil
	})
	whoAmI := func(ctx context.Context, _ web.None) (any, error) {
		principal, _ := identity.From(ctx)
		return principal.Actor(), nil
	}
	add("GET", "/internal/", web.Service, whoAmI)
	add("GET", "/staff/", web.Staff, whoAmI)
	add("GET", "/client/", web.Open, func(ctx context.Context, _ web.None) (any, error) { return identity.ClientFrom(ctx), nil })
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/things/{id}/", Message: "Done."}, func(_ context.Context, in struct {
		ID string `path:"id"`
	}) (string, error) {
		return in.ID, nil
	})
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/things/", Message: "Done."}, func(_ context.Context, in struct {
		Page   web.Page `query:"page"`
		Search string   `query:"search"`
		Active *bool    `query:"is_active"`
	}) (web.List[string], error) {
		var items []string
		if in.Active != nil {
			items = []string{in.Search, strconv.FormatBool(*in.Active)}
		}
		return web.List[string]{Items: items, Total: 45, Page: in.Page}, nil
	})
	add("GET", "/panic/", web.Open, func(context.Context, web.None) (any, error) { panic("secret cause") })
	add("GET", "/broken/", web.Open, func(context.Context, web.None) (any, error) { return nil, errors.New("secret cause") })
	add("GET", "/slow/", web.Open, func(context.Context, web.None) (any, error) {
		return nil, fmt.Errorf("wait for secret cause: %w", context.DeadlineExceeded)
	})
	add("GET", "/away/", web.Open, func(context.Context, web.None) (any, error) { return nil, fault.Away(errors.New("secret cause")) })
	add("GET", "/unencodable/", web.Open, func(context.Context, web.None) (any, error) { return func() {}, nil })
	f.router = r
	f.Handler = web.Observe(r, log, f.registry)
	return f
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

type envelope struct {
	Success bool
	Message string
	Error   string
	Errors  map[string][]string
	Data    json.RawMessage
	Meta    map[string]any
}

// send gives the reply and its envelope, which every reply must have.
func (f *face) send(t *testing.T, req *http.Request) (*http.Response, envelope) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, req)
	resp := w.Result()
	require.Equal(t, "application/json; charset=utf-8", resp.Header.Get("Content-Type"))
	require.NotEmpty(t, resp.Header.Get("X-Correlation-ID"))
	var e envelope
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), "%s", w.Body)
	require.Equal(t, resp.StatusCode < 400, e.Success)
	require.NotEmpty(t, e.Message)
	require.Equal(t, e.Success, e.Error == "")
	return resp, e
}

func (f *face) get(t *testing.T, path string, header ...string) (*http.Response, envelope) {
	t.Helper()
	req := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return f.send(t, req)
}

func (f *face) post(t *testing.T, content string) (*http.Response, envelope) {
	t.Helper()
	req := httptest.NewRequest("POST", "/api/v1/echo/", strings.NewReader(content))
	req.Header.Set("Content-Type", "application/json")
	return f.send(t, req)
}

func TestBothSlashFormsAndBothPathsWorkWithoutARedirect(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, path := range []string{"/api/v1/echo", "/api/v1/echo/", "/api/v1/parrot", "/api/v1/parrot/"} {
		req := httptest.NewRequest("POST", path, strings.NewReader(`{"text":"a","flag":true}`))
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
		resp, e := f.send(t, req)
		require.Equal(t, 201, resp.StatusCode, path)
		require.Equal(t, "Echoed.", e.Message)
	}
	for _, path := range []string{"/api/v1//echo/", "//api/v1/echo", "/api/v1/../v1/echo", "/api/v1/echo//", "/", "/api/v1/none", "/api/v1/echo/%2f"} {
		resp, e := f.get(t, path)
		require.Equal(t, 404, resp.StatusCode, path)
		require.Equal(t, "not_found", e.Error)
	}
}

func TestOtherMethodGets405WithAllow(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		resp, e := f.send(t, httptest.NewRequest(method, "/api/v1/echo/", nil))
		require.Equal(t, 405, resp.StatusCode, method)
		require.Equal(t, "method_not_allowed", e.Error)
		require.Equal(t, "GET, HEAD, POST", resp.Header.Get("Allow"))
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest("HEAD", "/api/v1/echo", nil))
	require.Equal(t, 200, w.Code)
}

func TestWhatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, contentType := range []string{"", "text/plain", "application/xml", "application/json; charset=latin1", "application/x-www-form-urlencoded", ";"} {
		req := httptest.NewRequest("POST", "/api/v1/echo/", strings.NewReader(`{"text":"a","flag":true}`))
		req.Header.Set("Content-Type", contentType)
		resp, e := f.send(t, req)
		require.Equal(t, 415, resp.StatusCode, contentType)
		require.Equal(t, "unsupported_media_type", e.Error)
	}
	for _, content := range []string{
		``, `{`, `{"text":}`, `[]`, `null`, `7`, `"a"`, `{"text":"a"} {}`, "{\"text\":\"\xff\"}", "\ufeff{}",
		strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), `{'text':'a'}`, `{"text":"a",}`, `NaN`,
	} {
		resp, e := f.post(t, content)
		require.Equal(t, 400, resp.StatusCode, "%.40q", content)
		require.Equal(t, "invalid_json", e.Error, "%.40q", content)
	}
}

func TestBodyOverAMebibyteIsRefused(t *testing.T) {
	t.Parallel()
	f := newFace()
	fits := `{"flag":true,"text":"` + strings.Repeat("a", 1<<20-len(`{"flag":true,"text":""}`)) + `"}`
	resp, _ := f.post(t, fits)
	require.Equal(t, 201, resp.StatusCode)
	for _, chunked := range []bool{false, true} {
		req := httptest.NewRequest("POST", "/api/v1/echo/", strings.NewReader(fits+" "))
		req.Header.Set("Content-Type", "application/json")
		if chunked {
			req.ContentLength = -1
		}
		resp, e := f.send(t, req)
		require.Equal(t, 413, resp.StatusCode)
		require.Equal(t, "body_too_large", e.Error)
	}
}

func TestEveryWrongFieldIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFace()
	for content, want := range map[string]map[string][]string{
		`{}`: {"text": {"This field is required."}, "flag": {"This field is required."}},
		`{"text":1,"flag":"yes","optional":[],"nullable":{},"nested":{"number":"1"}}`: {
			"text": {"Must be a string."}, "flag": {"Must be true or false."}, "optional": {"Must be a string."},
			"nullable": {"Must be a string."}, "nested.number": {"Must be a whole number."},
		},
		`{"text":null,"flag":null,"optional":null,"nested":null}`: {
			"text": {"This field may not be null."}, "flag": {"This field may not be null."},
			"optional": {"This field may not be null."}, "nested": {"This field may not be null."},
		},
		`{"TEXT":"a","Flag":true}`:                                         {"text": {"This field is required."}, "flag": {"This field is required."}},
		`{"text":"a\u0000b","flag":true,"nullable":"\u0000"}`:              {"text": {"Null characters are not allowed."}, "nullable": {"Null characters are not allowed."}},
		`{"text":"a","flag":true,"nested":{}}`:                             {"nested.number": {"This field is required."}},
		`{"text":"a","flag":true,"nested":[]}`:                             {"nested": {"Must be an object."}},
		`{"text":"a","flag":true,"nested":{"number":1e400}}`:               {"nested.number": {"Must be a whole number."}},
		`{"text":"a","flag":true,"nested":{"number":1.5}}`:                 {"nested.number": {"Must be a whole number."}},
		`{"text":"a","flag":true,"nested":{"number":9999999999999999999}}`: {"nested.number": {"Must be a whole number."}},
	} {
		resp, e := f.post(t, content)
		require.Equal(t, 400, resp.StatusCode, content)
		require.Equal(t, "validation_failed", e.Error)
		require.Equal(t, want, e.Errors, content)
	}
}

func TestAbsentNullAndAValueAreThreeWishes(t *testing.T) {
	t.Parallel()
	f := newFace()
	value := "v"
	for content, want := range map[string]web.Nullable[string]{
		`{"text":"a","flag":true,"unknown":{"x":[1]}}`: {},
		`{"text":"a","flag":true,"nullable":null}`:     {Present: true},
		`{"text":"a","flag":true,"nullable":"v"}`:      {Present: true, Value: &value},
		`{"text":"b","text":"a","flag":true}`:          {},
	} {
		resp, e := f.post(t, content)
		require.Equal(t, 201, resp.StatusCode, content)
		var got body
		require.NoError(t, json.Unmarshal(e.Data, &got))
		require.Equal(t, want, got.Nullable, content)
		require.Equal(t, "a", got.Text)
	}
}

func TestBearerIsAskedForAndJudged(t *testing.T) {
	t.Parallel()
	f := newFace()
	for header, code := range map[string]string{
		"": "not_authenticated", "Bearer": "not_authenticated", "Basic dTpw": "not_authenticated", token: "not_authenticated",
		"Bearer ": "not_authenticated", "Bearer    ": "not_authenticated", "Bearer forged": "token_invalid", "Bearer old": "token_expired", "Bearer " + token + " x": "token_invalid",
	} {
		resp, e := f.get(t, "/api/v1/me/", "Authorization", header)
		require.Equal(t, 401, resp.StatusCode, header)
		require.Equal(t, code, e.Error, header)
		challenge := resp.Header.Get("WWW-Authenticate")
		require.True(t, strings.HasPrefix(challenge, `Bearer realm="user-service"`), challenge)
		require.Equal(t, code != "not_authenticated", strings.Contains(challenge, `error="invalid_token"`))
	}
	for _, header := range []string{"Bearer " + token, "bearer " + token, "BEARER   " + token + " "} {
		resp, e := f.get(t, "/api/v1/me", "Authorization", header)
		require.Equal(t, 200, resp.StatusCode, header)
		require.JSONEq(t, `{"UserID":"user-1","SessionID":"session-1","Service":""}`, string(e.Data))
	}
}

func TestRolesAreEnforced(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, c := range []struct {
		path, header, value string
		status              int
		code, data          string
	}{
		{"/internal", "", "", 401, "not_authenticated", ""},
		{"/internal", "X-API-Key", "good-key", 200, "", "service:gateway"},
		{"/internal", "X-API-Key", "bad-key", 401, "token_invalid", ""},
		{"/internal", "Authorization", "Bearer staff", 200, "", "user:staff-1"},
		{"/internal", "Authorization", "Bearer " + token, 403, "forbidden", ""},
		{"/internal", "Authorization", "Bearer good-key", 401, "token_invalid", ""},
		{"/staff", "", "", 401, "not_authenticated", ""},
		{"/staff", "X-API-Key", "good-key", 401, "not_authenticated", ""},
		{"/staff", "Authorization", "Bearer staff", 200, "", "user:staff-1"},
		{"/staff", "Authorization", "Bearer " + token, 403, "forbidden", ""},
		{"/me", "X-API-Key", "good-key", 401, "not_authenticated", ""},
	} {
		resp, e := f.get(t, "/api/v1"+c.path, c.header, c.value)
		require.Equal(t, c.status, resp.StatusCode, "%v", c)
		require.Equal(t, c.code, e.Error, "%v", c)
		require.Equal(t, c.status == 401, resp.Header.Get("WWW-Authenticate") != "", "%v", c)
		if c.data != "" {
			require.JSONEq(t, strconv.Quote(c.data), string(e.Data))
		}
	}
}

func TestPathTakesAUUIDOnly(t *testing.T) {
	t.Parallel()
	f := newFace()
	_, e := f.get(t, "/api/v1/things/0192D3A4-0000-7000-8000-00000000000A")
	require.JSONEq(t, `"0192d3a4-0000-7000-8000-00000000000a"`, string(e.Data))
	for _, id := range []string{"1", "profile", "0192d3a4-0000-7000-8000-00000000000g", "0192d3a40000700080000000000000000000", strings.Repeat("-", 36), "%00"} {
		resp, e := f.get(t, "/api/v1/things/"+id+"/")
		require.Equal(t, 404, resp.StatusCode, id)
		require.Equal(t, "not_found", e.Error)
	}
}

func TestListTellsWhichPartOfItAReplyIs(t *testing.T) {
	t.Parallel()
	f := newFace()
	_, e := f.get(t, "/api/v1/things/?search=a%20b&is_active=true&page=2&limit=20")
	require.JSONEq(t, `["a b", "true"]`, string(e.Data))
	require.Equal(t, map[string]any{
		"total": 45.0, "limit": 20.0, "page": 2.0, "total_pages": 3.0, "has_next": true, "has_previous": true,
	}, e.Meta)
	_, e = f.get(t, "/api/v1/things?page=3")
	require.JSONEq(t, `[]`, string(e.Data))
	require.Equal(t, false, e.Meta["has_next"])
	require.InDelta(t, 20, e.Meta["limit"], 0)

	for query, field := range map[string]string{
		"page=0": "page", "page=-1": "page", "page=x": "page", "page=1e9": "page", "page=99999999999999999999": "page", "page=": "page",
		"limit=0": "limit", "limit=101": "limit", "is_active=perhaps": "is_active", "search=%00": "search", "search=%ff": "search",
	} {
		resp, e := f.get(t, "/api/v1/things/?"+query)
		require.Equal(t, 400, resp.StatusCode, query)
		require.Contains(t, e.Errors, field, query)
	}
}

func TestClientIsKnownByItsAddress(t *testing.T) {
	t.Parallel()
	f := newFace()
	_, e := f.get(t, "/api/v1/client", "User-Agent", strings.Repeat("ä", 150), "X-Forwarded-For", "203.0.113.7")
	var client identity.Client
	require.NoError(t, json.Unmarshal(e.Data, &client))
	require.Equal(t, identity.Client{Address: "192.0.2.1", UserAgent: strings.Repeat("ä", 100)}, client)
}

func TestFaultsOfOursTellNothing(t *testing.T) {
	t.Parallel()
	f := newFace()
	for path, want := range map[string]int{"/panic": 500, "/broken": 500, "/away": 503, "/slow": 503, "/unencodable": 500} {
		f.log.Reset()
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/api/v1"+path, nil)
		req.Header.Set("X-Correlation-ID", "find-me")
		f.ServeHTTP(w, req)
		require.Equal(t, want, w.Code, path)
		require.NotContains(t, w.Body.String(), "secret cause")
		require.NotContains(t, w.Body.String(), ".go")
		require.Equal(t, want == 503, w.Header().Get("Retry-After") != "", path)
		require.Contains(t, f.log.String(), `"correlation_id":"find-me"`, path)
		if path != "/unencodable" {
			require.Contains(t, f.log.String(), "secret cause", "the operator is told")
		}
	}
}

func TestCorrelationIDIsTakenOrReplacedAndAlwaysReturned(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, path := range []string{"/api/v1/echo", "/api/v1/none", "/api/v1/panic"} {
		resp, _ := f.get(t, path, "X-Correlation-ID", "Caller:1.2-3_x")
		require.Equal(t, "Caller:1.2-3_x", resp.Header.Get("X-Correlation-ID"))
		for _, hostile := range []string{"a b", "a\r\nSet-Cookie: x", strings.Repeat("a", 129), "ä", "<script>"} {
			resp, _ := f.get(t, path, "X-Correlation-ID", hostile)
			require.Regexp(t, `^[0-9a-f-]{36}$`, resp.Header.Get("X-Correlation-ID"))
		}
	}
}

func TestOneLineAndBoundedLabelsForEachRequest(t *testing.T) {
	t.Parallel()
	f := newFace()
	for _, path := range []string{"/x", "/y/z", "/api/v1/echo/1"} {
		for _, method := range []string{"GET", "BREW", "MAKE"} {
			f.send(t, httptest.NewRequest(method, path, nil))
		}
	}
	f.log.Reset()
	f.get(t, "/api/v1/me", "Authorization", "Bearer "+token)
	var line map[string]any
	require.NoError(t, json.Unmarshal(f.log.Bytes(), &line), "one line: %s", f.log)
	require.Equal(t, "request", line["message"])
	require.Equal(t, "/api/v1/me/", line["route"])
	require.Equal(t, "GET", line["method"])
	require.EqualValues(t, 200, line["status"])
	require.Equal(t, "user-1", line["user_id"])
	require.Equal(t, "session-1", line["session"])
	require.NotContains(t, f.log.String(), token)
	series, err := testutil.GatherAndCount(f.registry, "http_request_duration_seconds")
	require.NoError(t, err)
	require.Equal(t, 3, series, "unknown paths share one route, odd methods one name")
}

func TestMarkupIsNotEscapedAndNotCached(t *testing.T) {
	t.Parallel()
	resp, e := newFace().get(t, "/api/v1/echo")
	require.JSONEq(t, `{"tag":"<b>&"}`, string(e.Data))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
}

func FuzzBody(f *testing.F) {
	face := newFace()
	for _, seed := range []string{`{"text":"a","flag":true}`, `{"nested":{"number":-1}}`, `[`, "\x00", `{"text":"\ud800","flag":false}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		resp, e := face.post(t, string(content))
		require.Contains(t, []int{201, 400, 413}, resp.StatusCode)
		require.Equal(t, e.Error == "validation_failed", e.Errors != nil)
	})
}

func BenchmarkAuthorizedGet(b *testing.B) {
	f := newFace()
	f.log.Grow(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("GET", "/api/v1/me/", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		f.ServeHTTP(httptest.NewRecorder(), req)
		f.log.Reset()
	}
}

// slowly gives a body after so long.
type slowly struct {
	after time.Duration
	body  *strings.Reader
}

func (s *slowly) Read(p []byte) (int, error) {
	<-time.After(s.after)
	s.after = 0
	return s.body.Read(p)
}

// TestTimeThatAClientTakesForItsBodyIsNotOurs, up to the time that the server gives it.
func TestTimeThatAClientTakesForItsBodyIsNotOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := web.NewRouter(web.Settings{Log: slog.New(slog.DiscardHandler)})
		web.Handle(r, web.Endpoint{Method: "POST", Path: "/slow/"}, func(ctx context.Context, in struct {
			Work int `json:"work"`
		}) (web.None, error) {
			select {
			case <-time.After(time.Duration(in.Work) * time.Second):
				return web.None{}, nil
			case <-ctx.Done():
				return web.None{}, ctx.Err()
			}
		})
		for work, status := range map[string]int{`{"work": 9}`: 200, `{"work": 11}`: 503} {
			req := httptest.NewRequest("POST", "/api/v1/slow/", &slowly{29 * time.Second, strings.NewReader(work)})
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			require.Equal(t, status, w.Code, "%s: %s", work, w.Body)
		}
	})
}
