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
	"POST /users/":                       `{"name": "Ada", "email": "ada@example.com", "password": "correct horse battery", "push_token": null, "preferences": {"email": true, "push": false}}`,
	"POST /auth/login/":                  `{"email": "ada@example.com", "password": "correct horse battery"}`,
	"POST /auth/refresh/":                `{"refresh": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "refresh_token": null}`,
	"POST /auth/verify-email/":           `{"token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	"POST /auth/verify-email/resend/":    `{"email": "ada@example.com"}`,
	"POST /auth/password-reset/":         `{"email": "ada@example.com"}`,
	"POST /auth/password-reset/confirm/": `{"token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "password": "another phrase", "password_confirm": "another phrase"}`,
	"POST /auth/password-change/":        `{"current_password": "correct horse battery", "password": "another phrase", "password_confirm": "another phrase"}`,
	"PATCH /users/profile/":              `{"name": "Countess", "push_token": "device"}`,
	"PATCH /users/preferences/":          `{"email": false, "push": true}`,
	"PATCH /users/{id}/":                 `{"is_active": true, "is_staff": true}`,
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
	admin, user := s.staff(i), i.register()
	if path == "/users/{id}/" {
		path, user = "/users/"+user.id()+"/", admin
	}
	handler := web.Observe(i.app.router, i.app.root, prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest(method, web.Base+path, bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+user.AccessToken)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		var r reply
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r), "no envelope: %s", w.Body)
		require.Less(t, w.Code, 500, "%s", w.Body)
		require.Equal(t, w.Code < 400, r.Success)
		require.Equal(t, r.Error == "validation_failed", len(r.Errors) > 0)
		for field, messages := range r.Errors {
			require.NotEmpty(t, field)
			require.NotEmpty(t, messages)
		}
		if r.Success && strings.Contains(path, "password-change") { // it signed us out
			here := *i
			here.t = t
			user = here.register()
		}
	})
}
