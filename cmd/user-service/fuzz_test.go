package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

// bodies are the requests that carry JSON, each with one that succeeds or nearly does. Every one of
// them has a fuzz test below.
var bodies = map[string]string{
	"POST /users/":                        `{"name": "Ada", "email": "ada@example.com", "password": "correct horse battery", "push_token": null, "preferences": {"email": true, "push": false}}`,
	"POST /auth/login/":                   `{"email": "ada@example.com", "password": "correct horse battery"}`,
	"POST /auth/refresh/":                 `{"refresh": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "refresh_token": null}`,
	"POST /auth/verify-email/":            `{"token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	"POST /auth/verify-email/resend/":     `{"email": "ada@example.com"}`,
	"POST /auth/password-reset/":          `{"email": "ada@example.com"}`,
	"POST /auth/password-reset/confirm/":  `{"token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "password": "another phrase", "password_confirm": "another phrase"}`,
	"POST /auth/password-change/":         `{"current_password": "correct horse battery", "password": "another phrase", "password_confirm": "another phrase"}`,
	"PATCH /users/profile/":               `{"name": "Countess", "push_token": "device"}`,
	"PATCH /users/preferences/":           `{"email": false, "push": true}`,
	"PATCH /users/{id}/":                  `{"is_active": true, "is_staff": true}`,
	"POST /notifications/failed/requeue/": `{"request_ids": ["unique-id"], "reason": "malformed", "template_code": "x", "older_than_hours": 1, "dry_run": true}`,
}

func FuzzRegister(f *testing.F)           { fuzzBody(f, "POST /users/") }
func FuzzLogin(f *testing.F)              { fuzzBody(f, "POST /auth/login/") }
func FuzzRefresh(f *testing.F)            { fuzzBody(f, "POST /auth/refresh/") }
func FuzzVerifyEmail(f *testing.F)        { fuzzBody(f, "POST /auth/verify-email/") }
func FuzzResendVerification(f *testing.F) { fuzzBody(f, "POST /auth/verify-email/resend/") }
func FuzzRequestReset(f *testing.F)       { fuzzBody(f, "POST /auth/password-reset/") }
func FuzzConfirmReset(f *testing.F)       { fuzzBody(f, "POST /auth/password-reset/confirm/") }
func FuzzChangePassword(f *testing.F)     { fuzzBody(f, "POST /auth/password-change/") }
func FuzzChangeProfile(f *testing.F)      { fuzzBody(f, "PATCH /users/profile/") }
func FuzzChangePreferences(f *testing.F)  { fuzzBody(f, "PATCH /users/preferences/") }
func FuzzChangeAccount(f *testing.F)      { fuzzBody(f, "PATCH /users/{id}/") }

func FuzzRequeueFailed(f *testing.F) { fuzzBody(f, "POST /notifications/failed/requeue/") }

func TestEveryBodyIsFuzzed(t *testing.T) {
	t.Parallel()
	_, i, _ := shared(t)
	var served []string
	for _, route := range i.app.router.Routes() {
		if route.TakesBody() {
			served = append(served, route.Method+" "+route.Path)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(bodies)), served)
}

// hostile are bodies that broke services before.
var hostile = []string{
	``, `{}`, `[]`, `null`, `"text"`, `1e999`, `{`, `{"a":`, "\x00", "\xff\xfe", `{"email": "\u0000"}`, `{"email": "\ud800"}`,
	`{"email": null, "password": null}`, `{"email": {}, "password": []}`, `{"email": 1, "password": true}`, `{"email": "a", "email": {"b": 1}}`,
	strings.Repeat(`[`, 20_000), strings.Repeat(`{"preferences":`, 5_000), `{"name": "` + strings.Repeat("ä", 70_000) + `"}`,
	`{"email": "a@b.c\r\nBcc: d@e.f"}`, `{"name": "';DROP TABLE auth.accounts;--"}`, `{"push_token": "\u202e"}`, `{"is_active": "true"}`,
	`{"__proto__": {"is_staff": true}, "constructor": null}`, `{"preferences": {"email": 1}}`, `{"is_active": 99999999999999999999999}`,
}

// fuzzBody sends whatever body and accepts any answer but a fault of ours: always the envelope, and of
// a body that is refused which field is wrong.
func fuzzBody(f *testing.F, endpoint string) {
	for _, seed := range append([]string{bodies[endpoint]}, hostile...) {
		f.Add([]byte(seed))
	}
	method, path, _ := strings.Cut(endpoint, " ")
	s, i, _ := shared(f)
	user := i.register()
	if path == "/users/{id}/" || strings.HasPrefix(path, "/notifications/") {
		path, user = filled(path, user.id()), s.staff(i)
	}
	handler := web.Observe(i.app.router, i.app.root, prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest(method, web.Base+path, bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+user.AccessToken)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		r := requireNoFaultOfOurs(t, w)
		if r.Success && strings.Contains(path, "password-change") { // it signed us out
			here := *i
			here.t = t
			user = here.register()
		}
	})
}

// requireNoFaultOfOurs takes any answer in the envelope that is none, and says which field is wrong.
func requireNoFaultOfOurs(t *testing.T, w *httptest.ResponseRecorder) (r reply) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r), "no envelope: %s", w.Body)
	require.Less(t, w.Code, 500, "%s", w.Body)
	require.Equal(t, w.Code < 400, r.Success)
	require.Equal(t, r.Error == "validation_failed", len(r.Errors) > 0)
	for field, messages := range r.Errors {
		require.NotEmpty(t, field)
		require.NotEmpty(t, messages)
	}
	return r
}

// FuzzQuery asks for lists in any way: pages, filters, orders and words.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"page=1&limit=100&search=ada&is_active=true&email_verified=false&ordering=-name", "page=-1", "page=99999999999999999999", "limit=0x10",
		"search=%00", "search=%ff", "search=' OR 1=1 --", "search=a:*&search=b", "status=failed&user_id=x&template_code=%20", "user_id=0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f",
		"&&&===", "%zz", strings.Repeat("search=a&", 500), "search=" + strings.Repeat("ä ", 300), "ordering=created_at;DROP TABLE profile.users",
	} {
		f.Add(query)
	}
	s, i, _ := shared(f)
	admin := s.staff(i)
	handler := web.Observe(i.app.router, i.app.root, prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/users/", "/notifications/", "/users/notifications/", "/auth/activity/", "/users/" + admin.id() + "/contact/"} {
			req := httptest.NewRequest("GET", web.Base+path, nil)
			req.URL.RawQuery = query
			req.Header.Set("Authorization", "Bearer "+admin.AccessToken)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			requireNoFaultOfOurs(t, w)
		}
	})
}
