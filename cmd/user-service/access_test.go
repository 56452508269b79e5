package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Who may call what. A route that is in no row fails the test below.
var access = map[string][]string{
	"everybody": {
		"GET /openapi.json", "GET /swagger/", "GET /redoc/", "GET /.well-known/jwks.json",
		"GET /health/", "GET /health/live/", "GET /health/ready/",
		"POST /users/", "POST /auth/register/", "POST /auth/login/", "POST /auth/refresh/",
		"POST /auth/verify-email/", "POST /auth/verify-email/resend/", "POST /auth/password-reset/", "POST /auth/password-reset/confirm/",
	},
	"users": {
		"GET /users/me/", "PATCH /users/me/", "DELETE /users/me/", "GET /users/profile/", "PATCH /users/profile/", "DELETE /users/profile/",
		"GET /users/preferences/", "PATCH /users/preferences/", "GET /users/notifications/", "POST /notifications/test/",
		"GET /auth/activity/", "GET /auth/sessions/", "DELETE /auth/sessions/", "DELETE /auth/sessions/{id}/",
		"POST /auth/logout/", "POST /auth/password-change/",
	},
	"services": {
		"GET /users/{id}/", "GET /users/{id}/preferences/", "GET /users/{id}/contact/", "GET /users/{id}/push-token/",
	},
	"staff": {
		"GET /users/", "PATCH /users/{id}/", "GET /users/{id}/activity/",
		"GET /notifications/", "GET /notifications/{request_id}/", "POST /notifications/failed/requeue/",
	},
}

// refusals say who is turned away, and how: 403 when it is known who asks, 401 when it is not.
var refusals = map[string]map[string]int{
	"everybody": {},
	"users":     {"nobody": 401, "forger": 401, "who left": 401, "inactive": 401, "unknown key": 401, "service": 401},
	"services":  {"nobody": 401, "forger": 401, "who left": 401, "inactive": 401, "unknown key": 401, "user": 403},
	"staff":     {"nobody": 401, "forger": 401, "who left": 401, "inactive": 401, "unknown key": 401, "service": 401, "user": 403},
}

// TestEachRouteLetsInWhomItsRuleNames sends every caller to every route of the document, also in the
// name of another user.
func TestEachRouteLetsInWhomItsRuleNames(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, func(c *config) { c.TestNotifications = true })
	key, err := i.app.auth.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	gone, left := i.register(), i.register()
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", gone.AccessToken, nil).Status)
	require.Equal(t, 200, i.call("POST", "/api/v1/auth/logout/", left.AccessToken, nil).Status)
	rule := map[string]string{}
	for who, routes := range access {
		for _, route := range routes {
			rule[route] = who
		}
	}
	document, err := described()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, o := range document.operations {
		path := strings.TrimPrefix(strings.TrimPrefix(o.path, "/api"), "/v1")
		who, ruled := rule[o.method+" "+path]
		require.True(t, ruled, "nobody has said who may call %s", o)
		seen[o.method+" "+path] = true
		for caller, header := range map[string][2]string{
			"nobody":      {},
			"forger":      {"Authorization", "Bearer " + left.AccessToken + "x"},
			"who left":    {"Authorization", "Bearer " + left.AccessToken},
			"inactive":    {"Authorization", "Bearer " + gone.AccessToken},
			"unknown key": {"X-API-Key", key + "x"},
			"user":        {"Authorization", "Bearer " + i.register().AccessToken},
			"staff":       {"Authorization", "Bearer " + s.staff(i).AccessToken},
			"service":     {"X-API-Key", key},
		} {
			req, err := http.NewRequestWithContext(t.Context(), o.method, i.base+filled(o.path, uuid.NewString()), strings.NewReader("{}"))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			if header[0] != "" {
				req.Header.Set(header[0], header[1])
			}
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			if refused := refusals[who][caller]; refused != 0 {
				require.Equal(t, refused, resp.StatusCode, "%s to %s", caller, o)
			} else {
				require.NotContains(t, []int{401, 403}, resp.StatusCode, "%s to %s", caller, o)
			}
		}
	}
	require.Len(t, seen, len(rule), "there is a rule for a route that is gone")
}
