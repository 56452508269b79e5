package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// everyType is a header of every type AMQP knows, as foreign producers set them.
var everyType = amqp.Table{
	"string": "text", "bool": true, "int8": int8(-1), "byte": byte(1), "int16": int16(300), "int32": int32(1 << 20), "int64": int64(1 << 40),
	"float": float32(1.5), "double": 2.5, "decimal": amqp.Decimal{Scale: 2, Value: 314}, "bytes": []byte{0, 255}, "time": time.Unix(1700000000, 0),
	"nil": nil, "table": amqp.Table{"deep": amqp.Table{"list": []any{int32(1), "a", nil}}}, "list": []any{amqp.Table{"a": true}},
	"x-death": "not what it should be", "x-attempts": "many", "x-delivery-count": int64(3),
}

func TestForeignMessageIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	id := uuid.NewString()
	message := pushBody(k.id(), id)
	message.Headers, message.ContentType, message.CorrelationId = everyType, "application/octet-stream", "trace-me"
	b.push(message)

	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "push.sent")
	got := s.provider.received(id)
	require.Len(t, got, 1)
	require.Equal(t, map[string]any{
		"request_id": id, "user_id": k.id(), "token": k.User["push_token"], "title": "Welcome, John!",
		"body": "Hi John, your account is ready. Have a look: https://example.com",
		"data": map[string]any{"name": "John", "link": "https://example.com"}, "priority": float64(1),
	}, got[0])
	e := listening.of(k.id(), "push.sent")[0]
	require.Equal(t, "trace-me", e.CorrelationID)
	require.Equal(t, map[string]any{
		"request_id": id, "user_id": k.id(), "template_code": "welcome_notification", "provider": "webhook",
		"provider_message_id": "provider-1", "reason": "", "attempts": float64(1),
	}, e.Data)

	b.push(message) // the producer repeats itself
	last := uuid.NewString()
	b.push(pushBody(k.id(), last))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 2 }, "the next message")
	servertest.Eventually(t, func() bool { return b.length("push.queue") == 0 }, "an empty queue")
	require.Len(t, s.provider.received(id), 1)
}

func TestConcurrentDuplicatesAreSentOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.start(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	arrived := make(chan struct{})
	s.provider.answers(func(map[string]any) (int, string) {
		<-arrived
		return 200, "{}"
	})
	id := uuid.NewString()
	for range 20 {
		b.push(pushBody(k.id(), id))
	}
	servertest.Eventually(t, func() bool { return b.length("push.queue") == 0 }, "all in the works at once")
	close(arrived)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) > 0 }, "push.sent")
	servertest.Eventually(t, func() bool {
		return b.length("push.queue")+s.waiting(b) == 0
	}, "all settled")
	require.Len(t, s.provider.received(id), 1)
	require.Len(t, listening.of(k.id(), "push.sent"), 1)
	require.Zero(t, b.length("failed.queue"))
}

// TestServiceThatStopsFinishesWhatIsBeingSentAndLeavesTheRestToOthers at once and untried: what it sent after
// that, it might have no time left to record.
func TestServiceThatStopsFinishesWhatIsBeingSentAndLeavesTheRestToOthers(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, db, b := s.start(t), s.open(t), s.broker(t)
	listening := b.listen()
	k := i.register()
	taken, release := s.provider.holds()
	sending := s.config.PushConcurrency
	ids := make([]string, 2*sending)
	for n := range ids {
		ids[n] = uuid.NewString()
		b.push(pushBody(k.id(), ids[n]))
	}
	servertest.Eventually(t, func() bool {
		return len(taken) == sending && count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sending'`) == len(ids)
	}, "half are at the provider, and the others wait for their turn")

	stopped := make(chan struct{})
	go func() {
		i.stop()
		close(stopped)
	}()
	servertest.Eventually(t, func() bool { return b.length("push.queue") == len(ids)-sending }, "the others are in the queue again")
	close(release)
	<-stopped
	require.Len(t, taken, sending)
	require.Equal(t, sending, count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sent'`))
	require.Equal(t, len(ids)-sending, count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'retrying' AND attempts = 0 AND reason = ''`))

	s.provider.answers(nil)
	s.start(t)
	servertest.Eventually(t, func() bool { return len(distinct(listening.of(k.id(), "push.sent"))) == len(ids) }, "another one sends them")
	for _, id := range ids {
		require.Len(t, s.provider.received(id), 1)
	}
	require.Empty(t, listening.of(k.id(), "push.retried"), "it is nothing to be told of")
}

func TestWhatIsNoMessageLandsInTheFailedQueue(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	valid := string(pushBody(k.id(), "r-1").Body)
	cases := map[string]struct{ body, reason, detail string }{
		"broken JSON":      {`{"user_id":`, "malformed", "not valid JSON"},
		"an array":         {`[1,2]`, "malformed", "not a JSON object"},
		"nothing":          {``, "malformed", "empty"},
		"a number":         {`7`, "malformed", "not a JSON object"},
		"not UTF-8":        {"{\"a\":\"\xff\"}", "malformed", "not UTF-8"},
		"no user":          {`{"template_code":"x","request_id":"r"}`, "malformed", "user_id must be a UUID"},
		"wrong types":      {`{"user_id":1,"template_code":[],"request_id":{}}`, "malformed", "request_id must be a string"},
		"unknown user":     {strings.ReplaceAll(valid, k.id(), uuid.NewString()), "unknown_user", "there is no user"},
		"unknown template": {strings.ReplaceAll(valid, "welcome_notification", "nope"), "unknown_template", `"nope"`},
		"wrong channel":    {strings.ReplaceAll(valid, `"notification_type":"push"`, `"notification_type":"email"`), "wrong_channel", "email"},
		"missing variable": {strings.ReplaceAll(valid, `"name":"John"`, `"nome":"John"`), "template_failed", "name"},
	}
	for name, test := range cases {
		test.body = strings.ReplaceAll(test.body, "r-1", name) // each a request of its own
		b.push(amqp.Publishing{Body: []byte(test.body), Headers: everyType, ContentType: "text/plain", Expiration: "60000"})
		d := b.dead()
		require.Equal(t, test.body, string(d.Body), name)
		require.Equal(t, test.reason, d.Headers["x-failure-reason"], name)
		require.Contains(t, d.Headers["x-failure-detail"], test.detail, name)
		require.Equal(t, int64(1), d.Headers["x-attempts"], name)
		require.Equal(t, "push.queue", d.Headers["x-original-queue"], name)
		require.Equal(t, everyType["table"], d.Headers["table"], name)
		require.Empty(t, d.Expiration, "it would vanish from the failed queue")
	}
	require.Zero(t, b.length("push.queue"))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) >= 2 }, "push.failed of what can be attributed")
}

func TestWhoMustNotBeReachedIsSkipped(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	skipped := func(k tokens, reason string) {
		t.Helper()
		id := uuid.NewString()
		b.push(pushBody(k.id(), id))
		servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.skipped")) == 1 }, "push.skipped")
		require.Equal(t, reason, listening.of(k.id(), "push.skipped")[0].Data["reason"])
		require.Empty(t, s.provider.received(id))
	}
	off := i.register()
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/preferences/", off.AccessToken, map[string]any{"push": false}).Status)
	skipped(off, "push_disabled")
	bare := i.register(func(body map[string]any) { body["push_token"] = nil })
	skipped(bare, "no_push_token")
	gone := i.register()
	require.Equal(t, 200, i.call("DELETE", "/api/v1/users/me/", gone.AccessToken, nil).Status)
	skipped(gone, "account_inactive")
	require.Zero(t, b.length("failed.queue"))
}

func TestProviderDecidesTheFate(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	var tries atomic.Int64
	s.provider.answers(func(n map[string]any) (int, string) {
		switch n["token"] {
		case "gone":
			return http.StatusGone, ""
		case "refused":
			return http.StatusBadRequest, ""
		case "late":
			if tries.Add(1) < 3 {
				return http.StatusServiceUnavailable, ""
			}
		case "never":
			return http.StatusTooManyRequests, ""
		}
		return http.StatusAccepted, "not JSON"
	})
	with := func(token string) (tokens, string) {
		k := i.register(func(body map[string]any) { body["push_token"] = token })
		id := uuid.NewString()
		b.push(pushBody(k.id(), id))
		return k, id
	}
	failed := func(k tokens, reason string, attempts int) {
		t.Helper()
		servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 1 }, "%s", reason)
		e := listening.of(k.id(), "push.failed")[0]
		require.Equal(t, reason, e.Data["reason"])
		require.EqualValues(t, attempts, e.Data["attempts"])
		d := b.dead()
		require.Equal(t, reason, d.Headers["x-failure-reason"])
		require.EqualValues(t, attempts, d.Headers["x-attempts"])
	}
	gone, _ := with("gone")
	failed(gone, "token_unregistered", 1)
	servertest.Eventually(t, func() bool { return len(listening.of(gone.id(), "user.push_token_changed")) == 1 }, "the dead token is removed")
	require.Equal(t, "unregistered", listening.of(gone.id(), "user.push_token_changed")[0].Data["reason"])
	var user map[string]any
	i.call("GET", "/api/v1/users/me/", gone.AccessToken, nil).into(t, &user)
	require.Nil(t, user["push_token"])

	refused, _ := with("refused")
	failed(refused, "provider_rejected", 1)

	late, id := with("late")
	servertest.Eventually(t, func() bool { return len(listening.of(late.id(), "push.sent")) == 1 }, "sent at the third try")
	require.EqualValues(t, 3, listening.of(late.id(), "push.sent")[0].Data["attempts"])
	require.Len(t, s.provider.received(id), 3)
	waits := func(k tokens) {
		t.Helper()
		told := listening.of(k.id(), "push.retried")
		require.Len(t, told, 2, "and none for the last attempt, after which it waits no more")
		for n, e := range told {
			require.Equal(t, []any{"provider_unavailable", "webhook", float64(n + 1)}, []any{e.Data["reason"], e.Data["provider"], e.Data["attempts"]})
		}
	}
	waits(late)

	never, id := with("never")
	failed(never, "attempts_exhausted", 3)
	require.Len(t, s.provider.received(id), 3)
	waits(never)
}

func TestOutageOfTheProviderDeadLettersNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	var away atomic.Bool
	away.Store(true)
	s.provider.answers(func(map[string]any) (int, string) {
		if away.Load() {
			return http.StatusBadGateway, ""
		}
		return 200, "{}"
	})
	const messages = 60
	for range messages {
		b.push(pushBody(k.id(), uuid.NewString()))
	}
	// Tries during the outage: those in the works when the breaker opened, then single probes.
	probes := func() int { s.provider.mu.Lock(); defer s.provider.mu.Unlock(); return len(s.provider.got) }
	servertest.Eventually(t, func() bool { return probes() >= 10 }, "some probes")
	require.Less(t, probes(), messages, "the breaker did not open")
	require.Zero(t, b.length("failed.queue"))
	away.Store(false)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == messages }, "all delivered afterwards")
	require.Zero(t, b.length("failed.queue"))
	require.Empty(t, listening.of(k.id(), "push.failed"))
}

// TestPreferenceIsSeenByTheNextMessage turns push on and off between messages.
func TestPreferenceIsSeenByTheNextMessage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, other := s.start(t), s.start(t)
	b := s.broker(t)
	listening := b.listen()
	var users sync.WaitGroup
	var publishing sync.Mutex
	for range 5 {
		k := i.register()
		users.Go(func() {
			for round := range 6 {
				on := round%2 == 1
				require.Equal(t, 200, other.call("PATCH", "/api/v1/users/preferences", k.AccessToken, map[string]any{"push": on}).Status)
				publishing.Lock()
				b.push(pushBody(k.id(), uuid.NewString()))
				publishing.Unlock()
				fate := map[bool]string{true: "push.sent", false: "push.skipped"}[on]
				servertest.Eventually(t, func() bool { return len(listening.of(k.id(), fate)) == round/2+1 }, "%s in round %d", fate, round)
			}
		})
	}
	users.Wait()
}

// TestOutageOfTheProviderUsesUpNoMessage has one message face the outage alone: every try and every
// probe is its own.
func TestOutageOfTheProviderUsesUpNoMessage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	var away atomic.Bool
	away.Store(true)
	s.provider.answers(func(map[string]any) (int, string) {
		if away.Load() {
			return http.StatusBadGateway, ""
		}
		return 200, "{}"
	})
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	attempts := len(s.config.PushRetrySteps) + 1
	servertest.Eventually(t, func() bool { return len(s.provider.received(id)) > attempts+1 }, "more tries than a message has attempts")
	require.Zero(t, b.length("failed.queue"))
	away.Store(false)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "delivered afterwards")
	require.LessOrEqual(t, listening.of(k.id(), "push.sent")[0].Data["attempts"], float64(attempts))
	require.Zero(t, b.length("failed.queue"))
}

// TestHostilePropertiesStopNobody fills every handler with messages whose id no database takes.
func TestHostilePropertiesStopNobody(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	hostile := []string{"a\x00b", "a\xffb", strings.Repeat("x", 255), "a\nb"}
	without := func(body map[string]any) { delete(body, "request_id") }
	for n := range 4 * s.config.PushConcurrency {
		message := pushBody(k.id(), "", without)
		message.MessageId, message.Body = hostile[n%len(hostile)], []byte(strings.Replace(string(message.Body), "welcome_notification", "nope", 1))
		b.push(message)
	}
	b.push(pushBody(k.id(), uuid.NewString()))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "the good one behind them")
	servertest.Eventually(t, func() bool { return b.length("push.queue") == 0 }, "an empty queue")
	for range 3 * s.config.PushConcurrency { // the fourth id is fit for use: all but the first are duplicates
		require.Equal(t, "malformed", b.deadOf("malformed").Headers["x-failure-reason"])
	}
}

// TestRequestOfOneUserIsNotMixedUpWithThatOfAnother who was given the same request_id by its producer.
func TestRequestOfOneUserIsNotMixedUpWithThatOfAnother(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k, other := i.register(), i.register()
	var busy atomic.Bool
	busy.Store(true)
	s.provider.answers(func(map[string]any) (int, string) {
		if busy.Load() {
			return http.StatusTooManyRequests, ""
		}
		return http.StatusOK, "{}"
	})
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	servertest.Eventually(t, func() bool { return len(s.provider.received(id)) == 1 }, "tried once")
	b.push(pushBody(other.id(), id))
	require.Equal(t, "request_id_reused", b.dead().Headers["x-failure-reason"])
	busy.Store(false)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "the first is sent")
	for _, n := range s.provider.received(id) {
		require.Equal(t, k.id(), n["user_id"])
	}
	require.Empty(t, listening.of(other.id(), "push.sent", "push.failed"), "it would be a second outcome of the request")
}

// TestDeadLetterThatIsMovedBackHasAllItsAttempts is what an operator does by hand.
func TestDeadLetterThatIsMovedBackHasAllItsAttempts(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	k := i.register()
	s.provider.answers(func(map[string]any) (int, string) { return http.StatusTooManyRequests, "" })
	for round := range 2 {
		id := uuid.NewString()
		message := pushBody(k.id(), id)
		if round == 1 { // a request of its own, with the headers of the failed one
			message.Headers = b.dead().Headers
		}
		b.push(message)
		servertest.Eventually(t, func() bool { return len(s.provider.received(id)) == 3 && b.length("failed.queue") == 1 }, "three attempts in round %d", round)
	}
}

func TestTextsOfTheOperatorAreInTheLanguageOfTheMessage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	folder := t.TempDir()
	for name, title := range map[string]string{"order.json": "{{name}}, it is on its way", "order.de.json": "{{name}}, sie ist unterwegs"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), fmt.Appendf(nil, `{"title": %q, "body": "…"}`, title), 0o600))
	}
	require.Empty(t, s.config.Templates.Add(os.DirFS(folder)))
	i := s.start(t)
	b := s.broker(t)
	k := i.register()
	for language, want := range map[string]string{"de-CH": "John, sie ist unterwegs", "fr": "John, it is on its way"} {
		id := uuid.NewString()
		b.push(pushBody(k.id(), id, func(body map[string]any) {
			body["template_code"], body["metadata"] = "order", map[string]any{"language": language}
		}))
		servertest.Eventually(t, func() bool { return len(s.provider.received(id)) == 1 }, "it is sent")
		require.Equal(t, want, s.provider.received(id)[0]["title"])
	}
}
