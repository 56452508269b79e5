package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// failed runs the command and gives what it says.
func (s *stack) failed(t *testing.T, args ...string) string {
	t.Helper()
	out, status := s.command(t, s.environment(), append([]string{"failed"}, args...)...)
	require.Zero(t, status, out)
	return out
}

func TestOperatorsSeeDeadLettersAndGiveThemBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	rejected := "rejected " + uuid.NewString()
	s.provider.answers(func(map[string]any) (int, string) { return http.StatusBadRequest, "" })
	b.push(pushBody(k.id(), rejected))
	b.push(pushBody(k.id(), "of no template", func(body map[string]any) { body["template_code"] = "none_such" }))
	b.push(amqp.Publishing{Body: []byte("\x1b[2Jnot JSON")})
	servertest.Eventually(t, func() bool {
		return b.length("failed.queue") == 3 && len(listening.of(k.id(), "push.failed")) == 2
	}, "all three have failed")

	list := s.failed(t, "list")
	for _, part := range []string{rejected, "provider_rejected", "unknown_template", "malformed", "push.queue", "of no template"} {
		require.Contains(t, list, part)
	}
	require.NotContains(t, list, "\x1b", "a terminal is not steered by strangers")
	require.Len(t, strings.Split(strings.TrimSpace(s.failed(t, "list", "--template", "none_such")), "\n"), 2)
	require.Contains(t, s.failed(t, "list", "--limit", "1"), "2 more are in the queue")
	require.Contains(t, s.failed(t, "list", "--older-than", "1h"), "None of the 3 messages")
	shown := s.failed(t, "show", rejected)
	require.Contains(t, shown, `"link": "https://example.com"`)
	require.Contains(t, shown, k.id())
	out, status := s.command(t, s.environment(), "failed", "show", "none such")
	require.NotZero(t, status)
	require.Contains(t, out, "none such")
	out, status = s.command(t, s.environment(), "failed", "drop")
	require.NotZero(t, status)
	require.Contains(t, out, "say which")

	for _, wrong := range [][]string{{"list", "--limit", "0"}, {"drop", "--older-than=-1h"}, {"requeue", "none such"}} {
		out, status = s.command(t, s.environment(), append([]string{"failed"}, wrong...)...)
		require.NotZero(t, status, out)
	}
	require.Contains(t, s.failed(t, "requeue", "--all", "--dry-run"), "3 of 3 would be requeued")
	require.Contains(t, s.failed(t, "drop", "--reason", "malformed"), "1 of 3 dropped")
	s.provider.answers(func(map[string]any) (int, string) { return http.StatusOK, "{}" })
	require.Contains(t, s.failed(t, "requeue", rejected), "1 of 2 requeued")
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "it is sent after all")
	require.Equal(t, rejected, listening.of(k.id(), "push.sent")[0].Data["request_id"])
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM push.deliveries WHERE request_id = $1 AND status = 'sent' AND reason = ''`, rejected))

	require.Contains(t, s.failed(t, "requeue", "--reason", "unknown_template"), "1 of 1 requeued")
	servertest.Eventually(t, func() bool {
		return len(listening.of(k.id(), "push.failed")) == 3 && b.length("failed.queue") == 1
	}, "what fails again is back")
	b.push(pushBody(k.id(), "of no template"))
	i.reaches(1, "push_outcomes_total", `status="duplicate"`)
	require.Empty(t, s.provider.received("of no template"), "a copy that nobody moved back changes no outcome")
}

func TestStaffHasFailedNotificationsHandledOnceMore(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	staff, k := s.staff(i), i.register()
	s.provider.answers(func(map[string]any) (int, string) { return http.StatusBadRequest, "" })
	for _, id := range []string{"one", "two", "three"} {
		b.push(pushBody(k.id(), id))
	}
	b.push(pushBody(k.id(), "four", func(body map[string]any) { body["template_code"] = "none_such" }))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 4 && b.length("failed.queue") == 4 }, "all have failed")
	requeue := func(body map[string]any) map[string]any {
		t.Helper()
		r := i.call("POST", "/api/v1/notifications/failed/requeue/", staff.AccessToken, body)
		require.Equal(t, 200, r.Status, "%v", r.Errors)
		var out map[string]any
		r.into(t, &out)
		return out
	}
	require.Equal(t, map[string]any{"requeued": 4.0, "stuck": 0.0, "looked_at": 4.0, "complete": true}, requeue(map[string]any{"all": true, "dry_run": true}))
	require.EqualValues(t, 1, requeue(map[string]any{"template_code": "none_such", "dry_run": true})["requeued"])
	require.EqualValues(t, 0, requeue(map[string]any{"older_than_hours": 1})["requeued"])
	require.EqualValues(t, 0, requeue(map[string]any{"request_ids": []string{}, "reason": "provider_rejected"})["requeued"], "of an empty list there is none")
	require.EqualValues(t, 0, requeue(map[string]any{"request_ids": []string{"one"}, "reason": "malformed"})["requeued"])
	servertest.Eventually(t, func() bool { return b.length("failed.queue") == 4 }, "what was looked at is back")
	s.provider.answers(func(map[string]any) (int, string) { return http.StatusOK, "{}" })
	require.EqualValues(t, 2, requeue(map[string]any{"request_ids": []string{"one", "three"}, "reason": "provider_rejected"})["requeued"])
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 2 }, "they are sent after all")
	servertest.Eventually(t, func() bool { return b.length("failed.queue") == 2 }, "the others are back")

	for field, body := range map[string]map[string]any{
		"all": {}, "older_than_hours": {"older_than_hours": 0}, "request_ids": {"request_ids": make([]string, 1001)}, "reason": {"reason": 7},
	} {
		r := i.call("POST", "/api/v1/notifications/failed/requeue/", staff.AccessToken, body)
		require.Equal(t, 400, r.Status, field)
		require.Contains(t, r.Errors, field)
	}
	require.Equal(t, 403, i.call("POST", "/api/v1/notifications/failed/requeue/", k.AccessToken, map[string]any{"all": true}).Status)

	proxy, through := servertest.NewProxy(t, s.config.RabbitMQURL)
	other := s.start(t, func(c *config) { c.RabbitMQURL = through })
	proxy.Cut()
	r := other.call("POST", "/api/v1/notifications/failed/requeue/", staff.AccessToken, map[string]any{"all": true})
	require.Equal(t, 503, r.Status)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
}

func TestOperatorsAreToldThatTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	out, status := s.command(t, s.environment("RABBITMQ_URL=amqp://me:hunter2@127.0.0.1:1/x"), "failed", "list")
	require.NotZero(t, status)
	require.Contains(t, out, "out of reach")
	require.NotContains(t, out, "hunter2")
}
