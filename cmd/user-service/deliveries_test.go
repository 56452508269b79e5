package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func TestWhatBecameOfAMessageIsOnRecord(t *testing.T) {
	t.Parallel()
	s, i, other := shared(t)
	admin, k, stranger := s.staff(i), i.register(), i.register()
	b := s.broker(t)
	listening := b.listen()
	sent, failed := "sent "+uuid.NewString(), "failed/ü "+uuid.NewString()
	b.push(pushBody(k.id(), sent))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "the first is sent")
	b.push(pushBody(k.id(), failed, func(body map[string]any) { body["template_code"] = "none_such" }))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 1 }, "the second fails")

	type shown struct {
		RequestID         string `json:"request_id"`
		UserID            string `json:"user_id"`
		TemplateCode      string `json:"template_code"`
		Status, Reason    string
		Provider          string
		ProviderMessageID string    `json:"provider_message_id"`
		Attempts          int       `json:"attempts"`
		CreatedAt         time.Time `json:"created_at"`
	}
	list := func(query, token string) (all []shown, r reply) {
		t.Helper()
		r = other.call("GET", query, token, nil)
		require.Equal(t, 200, r.Status, "%s %v", r.Error, r.Errors)
		r.into(t, &all)
		for _, one := range all {
			require.WithinDuration(t, time.Now(), one.CreatedAt, time.Minute)
		}
		return all, r
	}
	own, r := list("/api/v1/users/notifications/", k.AccessToken)
	require.Len(t, own, 2)
	require.InDelta(t, 2, r.Meta["total"], 0)
	require.Equal(t, [3]string{failed, "failed", "unknown_template"}, [3]string{own[0].RequestID, own[0].Status, own[0].Reason})
	require.Equal(t, [5]string{sent, "sent", "", "webhook", "provider-1"},
		[5]string{own[1].RequestID, own[1].Status, own[1].Reason, own[1].Provider, own[1].ProviderMessageID})
	require.Equal(t, 1, own[1].Attempts)
	none, _ := list("/api/v1/users/notifications/", stranger.AccessToken)
	require.Empty(t, none)

	const all = "/api/v1/notifications/?user_id="
	for query, want := range map[string][]shown{
		"": own, "&status=failed": own[:1], "&status=sent": own[1:], "&status=retrying": {}, "&template_code=none_such": own[:1],
		"&limit=1": own[:1], "&limit=1&page=2": own[1:],
	} {
		got, _ := list(all+strings.ToUpper(k.id())+query, admin.AccessToken)
		require.Equal(t, want, got, query)
	}
	for query, field := range map[string]string{"status=lost": "status", "user_id=7": "user_id", "page=501": "page"} {
		require.Contains(t, i.call("GET", "/api/v1/notifications/?"+query, admin.AccessToken, nil).Errors, field)
	}

	var one shown
	i.call("GET", "/api/v1/notifications/"+url.PathEscape(sent), admin.AccessToken, nil).into(t, &one)
	require.Equal(t, own[1], one)
	i.call("GET", "/api/v1/notifications/"+url.PathEscape(failed)+"/", admin.AccessToken, nil).into(t, &one)
	require.Equal(t, own[0], one, "although its id has a slash")
	require.Equal(t, "not_found", i.call("GET", "/api/v1/notifications/none/", admin.AccessToken, nil).Error)
	for _, path := range []string{"", "none/"} {
		require.Equal(t, "forbidden", i.call("GET", "/api/v1/notifications/"+path, k.AccessToken, nil).Error, "a user sees their own only")
	}
}
