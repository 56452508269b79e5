package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type activity struct {
	ID            int
	Action        string
	Actor         string
	Address       string
	CorrelationID string `json:"correlation_id"`
	Detail        map[string]string
}

func (i *instance) activity(path, token string) (lines []activity, r reply) {
	i.t.Helper()
	r = i.call("GET", path, token, nil)
	require.Equal(i.t, 200, r.Status, r.Error)
	r.into(i.t, &lines)
	return lines, r
}

func actions(lines []activity) (names []string) {
	for _, line := range lines {
		names = append(names, line.Action)
	}
	return names
}

// TestWhatHappensToAnAccountIsOnRecord goes through an account's life and reads its record.
func TestWhatHappensToAnAccountIsOnRecord(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	broker := s.broker(t)
	admin, other := s.staff(i), i.register()
	k := i.register()
	email := k.User["email"]
	failed := i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": email, "password": "wrong"})
	second := i.login(k)
	i.call("DELETE", "/api/v1/auth/sessions/", second.AccessToken, nil)
	i.call("POST", verifyPath, "", map[string]any{"token": broker.mail(email, "email_verification").token()})
	i.call("POST", changePath, second.AccessToken, map[string]any{"current_password": "wrong", "password": "x", "password_confirm": "x"})
	i.call("POST", resetPath, "", map[string]any{"email": email})
	reset := broker.mail(email, "password_reset").token()
	i.call("POST", confirmPath, "", map[string]any{"token": reset, "password": otherPassword, "password_confirm": otherPassword})
	i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": false})
	i.call("PATCH", "/api/v1/users/"+k.id()+"/", admin.AccessToken, map[string]any{"is_active": true})
	var third tokens
	i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": email, "password": otherPassword}).into(t, &third)
	next, _ := i.refresh(third.RefreshToken)
	last, _ := i.refresh(next.RefreshToken)
	_, r := i.refresh(third.RefreshToken) // a grandparent: stolen
	require.Equal(t, 401, r.Status)
	i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": email, "password": otherPassword}).into(t, &third)

	own, r := i.activity("/api/v1/auth/activity/?limit=100", third.AccessToken)
	require.Equal(t, []string{
		"login", "refresh_token_reused", "login", "reactivated", "deactivated", "password_reset", "password_reset_requested",
		"password_change_failed", "email_verified", "other_sessions_revoked", "login", "login_failed", "registered",
	}, actions(own))
	require.InDelta(t, 13, r.Meta["total"], 0)
	for _, line := range own {
		if line.Action == "deactivated" || line.Action == "reactivated" {
			require.Equal(t, "staff", line.Actor)
			require.Empty(t, line.Address, "a user is not told from where staff works")
			continue
		}
		require.Equal(t, "127.0.0.1", line.Address, line.Action)
		require.Contains(t, []string{"you", "anonymous"}, line.Actor)
	}
	require.Equal(t, failed.Header.Get("X-Correlation-ID"), own[11].CorrelationID)
	page, r := i.activity("/api/v1/auth/activity/?limit=5&page=3", third.AccessToken)
	require.Equal(t, own[10:], page)
	require.Equal(t, false, r.Meta["has_next"])

	all, _ := i.activity("/api/v1/users/"+k.id()+"/activity/?limit=100", admin.AccessToken)
	require.Equal(t, actions(own), actions(all))
	require.Equal(t, "user:"+admin.id(), all[4].Actor)
	require.Equal(t, "forbidden", i.call("GET", "/api/v1/users/"+k.id()+"/activity/", other.AccessToken, nil).Error)
	others, _ := i.activity("/api/v1/auth/activity/", other.AccessToken)
	require.Equal(t, []string{"registered"}, actions(others))

	var rows []string
	require.NoError(t, s.open(t).Select(t.Context(), &rows, `SELECT row_to_json(l)::text FROM auth.audit_log l`))
	record := strings.Join(rows, "\n")
	for _, secret := range []string{email.(string), goodPassword, otherPassword, reset, k.AccessToken, last.RefreshToken, "wrong"} {
		require.NotContains(t, record, secret)
	}
}

func TestFailuresOfUnknownAddressesAreOnRecordToo(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": "nobody@example.com", "password": goodPassword})
	var lines []string
	require.NoError(t, s.open(t).Select(t.Context(), &lines, `
		SELECT action || ' ' || actor || ' ' || address FROM auth.audit_log WHERE account_id IS NULL`))
	require.Equal(t, []string{"login_failed anonymous 127.0.0.1"}, lines)
}
