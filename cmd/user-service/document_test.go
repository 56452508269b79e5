package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
	"user-service/platform/web"
)

// document is the API's own description, by which every reply in these tests is judged.
type document struct {
	operations []operation
	compiler   *jsonschema.Compiler
	mu         sync.Mutex // compilers are for one goroutine
}

type operation struct {
	method, path string
	pattern      *regexp.Regexp
	responses    map[string]response
}

type response struct {
	Headers map[string]any
	Content map[string]struct{ Schema any }
}

func (o operation) String() string { return o.method + " " + o.path }

// described is the document with every route there can be.
var described = sync.OnceValues(func() (*document, error) {
	c := config{DatabaseURL: "postgres://localhost/", RedisURL: "redis://localhost", TestNotifications: true}
	k, err := newCore(c, 1, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	r, err := k.newRouter(web.Settings{Authority: k.auth.Authority(), Log: slog.New(slog.DiscardHandler)}, nil, nil)
	if err != nil {
		return nil, err
	}
	routes := r.Routes()
	return readDocument(routes[len(routes)-1].Document.Body)
})

func readDocument(content []byte) (*document, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	d := &document{compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", root); err != nil {
		return nil, err
	}
	var parsed struct {
		Paths map[string]map[string]struct{ Responses map[string]response }
	}
	if err := json.Unmarshal(content, &parsed); err != nil {
		return nil, err
	}
	for path, methods := range parsed.Paths {
		pattern := strings.NewReplacer(`\{id\}`, "[0-9a-fA-F-]{36}", `\{request_id\}`, ".+").Replace(strings.TrimSuffix(regexp.QuoteMeta(path), "/"))
		for method, o := range methods {
			d.operations = append(d.operations, operation{strings.ToUpper(method), path, regexp.MustCompile("^" + pattern + "/?$"), o.Responses})
		}
	}
	slices.SortFunc(d.operations, func(a, b operation) int { // users/profile before users/{id}
		return strings.Compare(strings.ReplaceAll(a.path, "{", "~"), strings.ReplaceAll(b.path, "{", "~"))
	})
	return d, nil
}

// plain are headers that say nothing of the API: of HTTP itself, of browsers, and of this server.
var plain = []string{
	"Content-Type", "Content-Length", "Date", "Vary", "Connection", "Cache-Control", "Strict-Transport-Security", "X-Content-Type-Options",
	"X-Frame-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Content-Security-Policy",
	"Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
}

// judge finds what the document says of a reply, and fails where it says something else.
func (d *document) judge(t testing.TB, req *http.Request, status int, header http.Header, body []byte) operation {
	t.Helper()
	method := req.Method
	for _, o := range d.operations {
		if o.method != method || !o.pattern.MatchString(req.URL.Path) {
			continue
		}
		documented, found := o.responses[strconv.Itoa(status)]
		require.True(t, found, "%s answers %d, which its document does not say: %s", o, status, body)
		for name := range header {
			_, told := documented.Headers[http.CanonicalHeaderKey(name)]
			told = told || slices.ContainsFunc(sortedKeys(documented.Headers), func(known string) bool { return http.CanonicalHeaderKey(known) == name })
			require.True(t, told || slices.Contains(plain, name), "%s answers %d with the header %s, which its document does not say", o, status, name)
		}
		mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
		require.Contains(t, documented.Content, mediaType, "%s answers %d with another type", o, status)
		d.validate(t, o, status, mediaType, body)
		return o
	}
	require.Contains(t, []int{400, 404, 405}, status, "%s %s is in no document", method, req.URL.Path)
	return operation{}
}

func sortedKeys(m map[string]any) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (d *document) validate(t testing.TB, o operation, status int, mediaType string, body []byte) {
	t.Helper()
	if req := strings.ToLower(o.method); req == "head" || !strings.HasPrefix(mediaType, "application/json") {
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	at := "openapi.json#/paths/" + strings.ReplaceAll(strings.ReplaceAll(escape(o.path), "{", "%7B"), "}", "%7D") + "/" + strings.ToLower(o.method) +
		"/responses/" + strconv.Itoa(status) + "/content/" + escape(mediaType) + "/schema"
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, err := d.compiler.Compile(at)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(value), "%s answers %d: %s", o, status, body)
}

// drive sends a request and remembers which operation has answered how.
type drive struct {
	*instance
	document  *document
	succeeded map[string]bool
	statuses  map[string]map[int]bool
}

func (d *drive) send(method, path, contentType, content string, headers ...string) int {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.base+path, strings.NewReader(content))
	require.NoError(d.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for n := 0; n < len(headers); n += 2 {
		if headers[n+1] != "" {
			req.Header.Set(headers[n], headers[n+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	o := d.document.judge(d.t, req, resp.StatusCode, resp.Header, body)
	if d.statuses[o.String()] == nil {
		d.statuses[o.String()] = map[int]bool{}
	}
	d.statuses[o.String()][resp.StatusCode] = true
	d.succeeded[o.String()] = d.succeeded[o.String()] || resp.StatusCode < 300
	return resp.StatusCode
}

func (d *drive) json(method, path, token string, body map[string]any) {
	d.t.Helper()
	content := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		require.NoError(d.t, err)
		content = string(encoded)
	}
	bearer := ""
	if token != "" {
		bearer = "Bearer " + token
	}
	status := d.send(method, path, "application/json", content, "Authorization", bearer, "X-Request-ID", uuid.NewString())
	require.Less(d.t, status, 300, "%s %s", method, path)
}

// TestEveryOperationAnswersAsItsDocumentSays drives each to success, and into every refusal that its
// form allows.
func TestEveryOperationAnswersAsItsDocumentSays(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, func(c *config) { c.TestNotifications = true })
	broker := s.broker(t)
	content, err := http.Get(i.base + "/openapi.json")
	require.NoError(t, err)
	served, err := io.ReadAll(content.Body)
	require.NoError(t, err)
	_ = content.Body.Close()
	document, err := readDocument(served)
	require.NoError(t, err)
	d := &drive{i, document, map[string]bool{}, map[string]map[int]bool{}}
	key, err := i.app.auth.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	admin, k := s.staff(i), i.register()
	token := k.AccessToken

	// A request that ends something comes after those that need it.
	for _, path := range []string{"/api/v1/users/", "/api/v1/auth/register/"} {
		d.json("POST", path, "", newUser())
	}
	d.json("POST", "/api/v1/auth/login/", "", map[string]any{"email": k.User["email"], "password": goodPassword})
	d.json("POST", "/api/v1/auth/refresh/", "", map[string]any{"refresh": i.login(k).RefreshToken})
	d.json("POST", resendPath, "", map[string]any{"email": k.User["email"]})
	d.json("POST", resetPath, "", map[string]any{"email": k.User["email"]})
	d.json("POST", verifyPath, "", map[string]any{"token": broker.mail(k.User["email"], "email_verification").token()})
	broker.mail(k.User["email"], "password_reset") // of two the later counts
	for _, path := range []string{
		"/auth/sessions/", "/auth/activity/", "/users/profile/", "/users/me/", "/users/preferences/",
	} {
		d.json("GET", "/api/v1"+path, token, nil)
	}
	d.json("DELETE", "/api/v1/auth/sessions/"+i.sessions(k)[1].ID+"/", token, nil)
	for _, path := range []string{"profile", "me"} {
		d.json("PATCH", "/api/v1/users/"+path+"/", token, map[string]any{"name": path, "push_token": nil})
	}
	d.json("PATCH", "/api/v1/users/preferences/", token, map[string]any{"email": false})
	d.json("POST", "/api/v1/notifications/test/", token, map[string]any{"variables": map[string]any{"name": "Ada"}})
	d.json("GET", "/api/v1/users/?limit=2", admin.AccessToken, nil)
	broker.push(pushBody(k.id(), "of the document"))
	servertest.Eventually(t, func() bool {
		return d.send("GET", "/api/v1/notifications/of%20the%20document/", "", "", "Authorization", "Bearer "+admin.AccessToken) == 200
	}, "a notification on record")
	d.json("GET", "/api/v1/notifications/?status=skipped", admin.AccessToken, nil)
	d.json("GET", "/api/v1/users/notifications/", token, nil)
	d.json("POST", "/api/v1/notifications/failed/requeue/", admin.AccessToken, map[string]any{"all": true, "dry_run": true})
	d.json("GET", "/api/v1/users/"+k.id()+"/activity/", admin.AccessToken, nil)
	d.json("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_staff": false})
	for _, below := range []string{"", "preferences/", "contact/?type=email", "contact/?type=push", "push-token/"} {
		require.Equal(t, 200, d.send("GET", "/api/v1/users/"+k.id()+"/"+below, "", "", "X-API-Key", key))
	}
	d.json("DELETE", "/api/v1/auth/sessions/", token, nil)
	for _, base := range []string{"", "/api"} {
		d.json("GET", base+"/.well-known/jwks.json", "", nil)
		d.json("GET", base+"/openapi.json", "", nil)
		d.json("GET", base+"/swagger/", "", nil)
		d.json("GET", base+"/redoc", "", nil)
	}
	for _, base := range []string{"", "/api/v1"} {
		for _, path := range []string{"/health/", "/health/live/", "/health/ready/"} {
			d.json("GET", base+path, "", nil)
		}
	}
	d.refuse(i.app.router.Routes(), admin, i.register(), key)

	d.json("POST", changePath, token, map[string]any{"current_password": goodPassword, "password": otherPassword, "password_confirm": otherPassword})
	s.exec(t, `UPDATE auth.one_time_tokens SET sent_at = now() - interval '2 minutes'`)
	d.json("POST", resetPath, "", map[string]any{"email": k.User["email"]})
	d.json("POST", confirmPath, "", map[string]any{
		"token": broker.mail(k.User["email"], "password_reset").token(), "password": goodPassword, "password_confirm": goodPassword,
	})
	d.json("POST", "/api/v1/auth/logout/", i.login(k).AccessToken, nil)
	d.json("DELETE", "/api/v1/users/profile/", i.login(k).AccessToken, nil)
	d.json("DELETE", "/api/v1/users/me/", i.register().AccessToken, nil)

	for _, o := range document.operations {
		require.True(t, d.succeeded[o.String()], "%s was never driven to success", o)
	}
}

// refuse has each route refuse what can be refused whatever it does.
func (d *drive) refuse(routes []web.Route, admin, user tokens, key string) {
	for _, route := range routes {
		if route.Document != nil || route.Reports {
			continue
		}
		path := route.Base + filled(route.Path, uuid.NewString())
		right := []string{"Authorization", "Bearer " + admin.AccessToken}
		if route.Access == web.Service {
			right = []string{"X-API-Key", key}
		}
		want := func(status int, contentType, content string, headers ...string) {
			d.t.Helper()
			got := d.send(route.Method, path, contentType, content, headers...)
			require.Equal(d.t, status, got, "%s %s %s", route.Method, path, content)
		}
		if route.Access != web.Open {
			want(401, "application/json", "{}")
			want(401, "application/json", "{}", "Authorization", "Bearer nonsense")
		}
		if route.Access == web.Staff || route.Access == web.Service {
			want(403, "application/json", "{}", "Authorization", "Bearer "+user.AccessToken)
		}
		if route.TakesBody() {
			want(415, "text/plain", "{}", right...)
			want(400, "application/json", "{", right...)
			want(413, "application/json", strings.Repeat(" ", 1<<20)+"{}", right...)
		}
		if route.Writes() {
			want(400, "application/json", "{}", append(right, "X-Request-ID", strings.Repeat("x", 256))...)
		}
		if strings.Contains(route.Path, "{") {
			path += "?type=push"
			want(404, "application/json", "{}", right...)
		}
		if route.TakesBody() {
			d.send(route.Method, path, "application/json", `{"email": 1, "name": 2, "password": [], "token": {}}`, right...)
		}
		d.send(http.MethodPut, path, "", "")
	}
}
