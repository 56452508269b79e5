package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	fcmURL   = "https://fcm.googleapis.com"
	fcmRest  = 10 * time.Second // least wait after a failure of FCM's
	fcmQuota = time.Minute      // wait where FCM names none
)

// FCM sends by Firebase Cloud Messaging, HTTP v1. firebase-admin-go would do, but retries inside and
// cannot be told not to.
// https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
type FCM struct {
	url string
	poster
	tokens *accessTokens
}

// NewFCM sends in the name of a service account, to base or, where that is empty, to Google. It keeps as
// many connections open as messages are sent at once.
func NewFCM(account ServiceAccount, base string, concurrency int) *FCM {
	if base == "" {
		base = fcmURL
	}
	poster := newPoster(concurrency, anyHTTP(), answerWithin)
	return &FCM{
		url:    strings.TrimSuffix(base, "/") + "/v1/projects/" + account.project + "/messages:send",
		poster: poster, tokens: newAccessTokens(account, poster),
	}
}

// Name implements Provider.
func (*FCM) Name() string { return "fcm" }

// Takes implements Provider.
func (*FCM) Takes(token string) bool { return !isAppleToken(token) }

// Send implements Provider.
func (p *FCM) Send(ctx context.Context, n Notification) (string, error) {
	body, err := fcmMessage(n)
	if err != nil {
		return "", err
	}
	token, err := p.tokens.current(ctx)
	if err != nil {
		return "", err
	}
	a, err := p.post(ctx, p.url, http.Header{"Authorization": {token.Type() + " " + token.AccessToken}}, body)
	if err != nil {
		if away, ok := errors.AsType[*Away](err); ok && !away.Soon {
			away.RetryAfter = fcmRest
		}
		return "", err
	}
	if a.status == http.StatusUnauthorized {
		p.tokens.drop(token) // it may have been revoked before its time
	}
	return judgeFCM(a)
}

type fcmText struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// fcmMessage has each platform replace a notification that it shows already by its duplicate.
func fcmMessage(n Notification) ([]byte, error) {
	data, err := texts(n.Data, func(key string) bool {
		return key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm")
	})
	if err != nil {
		return nil, err
	}
	text := fcmText{n.Title, n.Body}
	if payload, err := writeJSON(struct {
		Notification fcmText           `json:"notification"`
		Data         map[string]string `json:"data,omitempty"`
	}{text, data}); err != nil || len(payload) > maxPayload {
		return nil, tooLarge(len(payload))
	}
	type object = map[string]any
	android, apns, web := "NORMAL", "5", "normal"
	if n.Priority >= highPriority {
		android, apns, web = "HIGH", "10", "high"
	}
	id := collapseID(n.RequestID)
	return writeJSON(object{"message": object{
		"token": n.Token, "notification": text, "data": data,
		"android": object{"priority": android, "collapse_key": id, "notification": object{"tag": id}},
		"apns":    object{"headers": object{"apns-priority": apns, "apns-collapse-id": id}},
		"webpush": object{"headers": object{"Urgency": web}, "notification": object{"tag": id}},
	}})
}

// fcmFault is what FCM says of what it does not take.
// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
type fcmFault struct {
	Error struct {
		Message string
		Status  string
		Details []struct {
			Type            string `json:"@type"`
			ErrorCode       string
			FieldViolations []struct{ Field string }
			Violations      []struct{ Subject, Description string }
		}
	}
}

// code is FCM's own, "" where Google's front end answered in its place.
func (f fcmFault) code() string {
	for _, detail := range f.Error.Details {
		if strings.HasSuffix(detail.Type, "FcmError") {
			return detail.ErrorCode
		}
	}
	return ""
}

// ofToken tells whether an invalid argument is the token. FCM names the field, or says so to people only.
func (f fcmFault) ofToken() bool {
	for _, detail := range f.Error.Details {
		for _, violation := range detail.FieldViolations {
			if violation.Field == "message.token" {
				return true
			}
		}
	}
	return strings.Contains(f.Error.Message, "registration token")
}

// ofTarget tells whether a quota is that of one device or topic, and not the project's.
func (f fcmFault) ofTarget() bool {
	about := []string{f.Error.Message}
	for _, detail := range f.Error.Details {
		for _, violation := range detail.Violations {
			about = append(about, violation.Subject, violation.Description)
		}
	}
	return slices.ContainsFunc(about, func(text string) bool {
		text = strings.ToLower(text)
		return strings.Contains(text, "device") || strings.Contains(text, "topic")
	})
}

// judgeFCM keeps what is wrong with a message apart from what is wrong with the settings: a refusal by
// which FCM blames neither token nor message would be that of every other message too.
func judgeFCM(a answer) (string, error) {
	status := a.status
	if status/100 == 2 {
		var accepted struct{ Name string }
		if err := json.Unmarshal(a.body, &accepted); err == nil && storable(accepted.Name, maxProviderID) {
			return accepted.Name, nil
		}
		return "", nil // accepted it is all the same
	}
	var fault fcmFault
	_ = json.Unmarshal(a.body, &fault) // then it has no code
	code := fault.code()
	refusal := fmt.Errorf("FCM answered %d %s", status, code)
	switch {
	case code == "UNREGISTERED", code == "SENDER_ID_MISMATCH", status == http.StatusBadRequest && code == "INVALID_ARGUMENT" && fault.ofToken():
		return "", new(DeadToken)
	case status == http.StatusTooManyRequests:
		away := &Away{Cause: refusal, RetryAfter: a.retryAfter(), Busy: true, Everybody: !fault.ofTarget()}
		if away.RetryAfter == 0 {
			away.RetryAfter = fcmQuota
		}
		return "", away
	case status == http.StatusUnauthorized:
		// Firebase's own key for Apple or a browser is wrong: that is not so for other devices.
		apart := code == "THIRD_PARTY_AUTH_ERROR"
		return "", &Away{Cause: refusal, RetryAfter: fcmRest, Settings: true, Everybody: !apart, Busy: apart}
	case status == http.StatusBadRequest, status == http.StatusForbidden && code != "", status == http.StatusNotFound && code != "":
		return "", rejected(refusal.Error())
	case status == http.StatusForbidden, status == http.StatusNotFound: // no such project, or no right to send in it
		return "", &Away{Cause: refusal, RetryAfter: fcmRest, Settings: true}
	case status/100 == 4:
		return "", rejected(refusal.Error())
	}
	return "", &Away{Cause: refusal, RetryAfter: max(fcmRest, a.retryAfter())}
}
