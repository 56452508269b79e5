package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

const trialPath = "/api/v1/notifications/test/"

func trials(c *config) { c.TestNotifications = true }

func (i *instance) try(token string, body any) (requestID string) {
	i.t.Helper()
	r := i.call("POST", trialPath, token, body)
	require.Equal(i.t, 202, r.Status, "%s %v", r.Error, r.Errors)
	var receipt struct {
		RequestID string `json:"request_id"`
	}
	r.into(i.t, &receipt)
	return receipt.RequestID
}

func TestUserTriesOutADelivery(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, trials)
	k := i.register()
	first := i.try(k.AccessToken, map[string]any{})
	servertest.Eventually(t, func() bool { return len(s.provider.received(first)) == 1 }, "the notification")
	n := s.provider.received(first)[0]
	require.Equal(t, []any{"Welcome, Grace Hopper!", k.User["push_token"]}, []any{n["title"], n["token"]})

	second := i.try(k.AccessToken, map[string]any{"variables": map[string]any{"name": "you"}, "priority": 10, "metadata": map[string]any{"a": 1}})
	servertest.Eventually(t, func() bool { return len(s.provider.received(second)) == 1 }, "the notification")
	require.Equal(t, "Welcome, you!", s.provider.received(second)[0]["title"])

	b := s.broker(t)
	unknown := i.try(k.AccessToken, map[string]any{"template_code": "no_such", "priority": 7, "variables": json.RawMessage(`{"n": 12345678901234567890}`), "metadata": map[string]any{"a": 1}})
	d := b.deadOf("unknown_template")
	require.JSONEq(t, `{"notification_type": "push", "user_id": "`+k.id()+`", "template_code": "no_such", "variables": {"n": 12345678901234567890},
		"request_id": "`+unknown+`", "priority": 7, "metadata": {"a": 1}}`, string(d.Body))
	require.Contains(t, string(d.Body), "12345678901234567890")
	require.Equal(t, []any{unknown, uint8(7)}, []any{d.MessageId, d.Priority})
}

func TestTriedDeliveryOutlivesAnOutageOfTheBroker(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.RabbitMQURL)
	s.config.RabbitMQURL = through
	i := s.start(t, trials)
	k := i.register()
	proxy.Cut()
	requestID := i.try(k.AccessToken, map[string]any{})
	proxy.Restore()
	servertest.Eventually(t, func() bool { return len(s.provider.received(requestID)) == 1 }, "the notification")
}

func TestTrialIsRefusedWhatNoMessageMayHave(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t, trials)
	k := i.register()
	for field, wrong := range map[string][]any{
		"template_code": {"", 7, nil, "a\nb", string(make([]byte, 300))},
		"variables":     {"x", []any{}, nil, map[string]any{"a": "\x00"}},
		"priority":      {0, 11, -1, 1.5, "1", nil},
		"metadata":      {"x", 1, nil},
	} {
		for _, value := range wrong {
			r := i.call("POST", trialPath, k.AccessToken, map[string]any{field: value})
			require.Equal(t, http.StatusBadRequest, r.Status, "%s %v", field, value)
			require.Contains(t, r.Errors, field, "%v", value)
		}
	}
	require.Equal(t, 401, i.call("POST", trialPath, "", map[string]any{}).Status)
	require.Equal(t, 0, count(t, s.open(t), `SELECT count(*) FROM messaging.outbox WHERE topic = 'push'`))

	closed := s.start(t)
	r := closed.call("POST", trialPath, k.AccessToken, map[string]any{})
	require.Equal(t, []any{404, "not_found"}, []any{r.Status, r.Error})
}
