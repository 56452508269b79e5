package main

import (
	"net/http"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/modules/push"
	"user-service/platform/servertest"
)

// byVendors has a stack deliver by FCM and APNs.
func (s *stack) byVendors(t *testing.T) (*servertest.FCM, *servertest.APNs) {
	t.Helper()
	google, apple := servertest.NewFCM(t), servertest.NewAPNs(t)
	credentials, err := os.ReadFile(google.Credentials)
	require.NoError(t, err)
	account, err := push.ParseServiceAccount(credentials)
	require.NoError(t, err)
	p8, err := os.ReadFile(apple.KeyFile)
	require.NoError(t, err)
	key, err := push.ParseAPNsKey(p8, "KEY1234567", "TEAM123456")
	require.NoError(t, err)
	s.config.Providers = pushProviders{
		Names: []string{"fcm", "apns"}, FCM: account, FCMURL: google.URL, APNs: key, APNsTopic: "com.example.app", APNsURL: apple.URL,
	}
	return google, apple
}

// sendTo registers a user with a device token and sends them a message.
func (b *broker) sendTo(i *instance, token string) (k tokens, requestID string) {
	b.t.Helper()
	k = i.register(func(body map[string]any) { body["push_token"] = token })
	requestID = uuid.NewString()
	b.push(pushBody(k.id(), requestID))
	return k, requestID
}

func TestVendorsDecideTheFate(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.byVendors(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	for token, want := range map[string][4]any{
		"ok":                              {"push.sent", "fcm", "", 1.0},
		"garbage":                         {"push.sent", "fcm", "", 1.0},
		"400":                             {"push.failed", "fcm", "token_unregistered", 1.0},
		"400-field":                       {"push.failed", "fcm", "provider_rejected", 1.0},
		"403":                             {"push.failed", "fcm", "token_unregistered", 1.0},
		"404":                             {"push.failed", "fcm", "token_unregistered", 1.0},
		servertest.AppleToken("ok"):       {"push.sent", "apns", "", 1.0},
		servertest.AppleToken("403-once"): {"push.sent", "apns", "", 1.0},
		servertest.AppleToken("400"):      {"push.failed", "apns", "provider_rejected", 1.0},
		servertest.AppleToken("413"):      {"push.failed", "apns", "provider_rejected", 1.0},
	} {
		k, _ := b.sendTo(i, token)
		servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent", "push.failed")) == 1 }, "an outcome for %s", token)
		e := listening.of(k.id(), "push.sent", "push.failed")[0]
		require.Equal(t, want, [4]any{e.Type, e.Data["provider"], e.Data["reason"], e.Data["attempts"]}, token)
		var user map[string]any
		i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).into(t, &user)
		if want[2] == "token_unregistered" {
			require.Nil(t, user["push_token"], token)
		} else {
			require.Equal(t, token, user["push_token"])
		}
	}
}

// TestDeadTokenThatWasRegisteredAnewIsNotDead when Apple's word is older than the registration.
func TestDeadTokenThatWasRegisteredAnewIsNotDead(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, apple := s.byVendors(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	token := servertest.AppleToken("410")
	k, _ := b.sendTo(i, token)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 1 }, "tried until its attempts are used up")
	require.Equal(t, "attempts_exhausted", listening.of(k.id(), "push.failed")[0].Data["reason"])
	require.Len(t, apple.Received(token), len(s.config.PushRetrySteps)+1)
	var user map[string]any
	i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).into(t, &user)
	require.Equal(t, token, user["push_token"])

	s.exec(t, `UPDATE profile.users SET push_token_at = $1`, servertest.Died)
	b.push(pushBody(k.id(), uuid.NewString()))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 2 }, "failed at once")
	require.Equal(t, "token_unregistered", listening.of(k.id(), "push.failed")[1].Data["reason"])
	i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).into(t, &user)
	require.Nil(t, user["push_token"])
}

// TestWrongSettingsOfOneVendorDeadLetterNothing and do not stop the other.
func TestWrongSettingsOfOneVendorDeadLetterNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	google, _ := s.byVendors(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k, _ := b.sendTo(i, "401")
	servertest.Eventually(t, func() bool { return len(google.Received("401")) > 0 }, "tried once")
	apple, _ := b.sendTo(i, servertest.AppleToken("meanwhile"))
	servertest.Eventually(t, func() bool { return len(listening.of(apple.id(), "push.sent")) == 1 }, "the other vendor goes on")
	later, _ := b.sendTo(i, "later")
	servertest.Eventually(t, func() bool { return len(listening.of(later.id(), "push.sent")) == 1 }, "tried again by the next message")
	require.Zero(t, b.length("failed.queue"))
	require.Empty(t, listening.of(k.id(), "push.failed"))
	staff := s.staff(i)
	var waiting []map[string]any
	i.call("GET", "/api/v1/notifications/?user_id="+k.id(), staff.AccessToken, nil).into(t, &waiting)
	require.Equal(t, "retrying", waiting[0]["status"])
	require.EqualValues(t, 0, waiting[0]["attempts"], "it is not the message's fault")
	require.Equal(t, "provider_unavailable", waiting[0]["reason"])
	i.reaches(5, "queue_retries_total", `queue="push.queue"`)
	require.Len(t, listening.of(k.id(), "push.retried"), 1, "told once, however often it comes back untried")
}

func TestQuotaOfTheProjectPausesTheSenderAndNotOneMessage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	google, _ := s.byVendors(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	b.sendTo(i, "429")
	servertest.Eventually(t, func() bool { return len(google.Received("429")) == 1 }, "tried once")
	next, _ := b.sendTo(i, "next")
	apple, _ := b.sendTo(i, servertest.AppleToken("meanwhile"))
	servertest.Eventually(t, func() bool { return len(listening.of(apple.id(), "push.sent")) == 1 }, "the other vendor goes on")
	servertest.Eventually(t, func() bool { return b.length("push.queue") == 0 }, "the next message is parked")
	require.Empty(t, google.Received("next"))
	require.Empty(t, listening.of(next.id(), "push.sent"))
	require.Zero(t, b.length("failed.queue"))
}

// TestTemplateServiceMakesTheTexts in place of this service's own templates.
func TestTemplateServiceMakesTheTexts(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	var templates fakeProvider // of texts: it answers as the test says
	templates.start(t)
	s.config.TemplateServiceURL = templates.server.URL
	templates.answers(func(body map[string]any) (int, string) {
		switch body["template_id"] {
		case "none_such":
			return http.StatusNotFound, "{}"
		case "away":
			return http.StatusBadGateway, ""
		}
		return http.StatusOK, `{"data": {"subject": "Made elsewhere", "body_text": "…"}}`
	})
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	k := i.register()
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	servertest.Eventually(t, func() bool { return len(s.provider.received(id)) == 1 }, "it is sent")
	require.Equal(t, "Made elsewhere", s.provider.received(id)[0]["title"])
	b.push(pushBody(k.id(), uuid.NewString(), func(body map[string]any) { body["template_code"] = "none_such" }))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.failed")) == 1 }, "no such template")
	require.Equal(t, []any{"unknown_template", ""}, []any{listening.of(k.id(), "push.failed")[0].Data["reason"], listening.of(k.id(), "push.failed")[0].Data["provider"]})
	b.dead()

	last := uuid.NewString()
	b.push(pushBody(k.id(), last, func(body map[string]any) { body["template_code"] = "away" }))
	asked := func() (n int) {
		templates.mu.Lock()
		defer templates.mu.Unlock()
		for _, body := range templates.got {
			if body["template_id"] == "away" {
				n++
			}
		}
		return n
	}
	servertest.Eventually(t, func() bool { return asked() > len(s.config.PushRetrySteps)+1 }, "asked more often than a message has attempts")
	templates.answers(func(map[string]any) (int, string) {
		return http.StatusOK, `{"data": {"title": "At last", "body": "…"}}`
	})
	servertest.Eventually(t, func() bool { return len(s.provider.received(last)) == 1 }, "sent when it is back")
	require.Zero(t, b.length("failed.queue"))
}
