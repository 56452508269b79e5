package push

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const apnsURL = "https://api.push.apple.com"

// APNs sends by the Apple Push Notification service, over HTTP/2.
// https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
type APNs struct {
	url   string // with the path, but for the token
	topic string
	poster
	tokens *providerTokens
}

// NewAPNs sends for the app that topic names, to base or, where that is empty, to Apple's production
// servers.
func NewAPNs(key APNsKey, topic, base string) *APNs {
	if base == "" {
		base = apnsURL
	}
	return &APNs{
		url: strings.TrimSuffix(base, "/") + "/3/device/", topic: topic,
		poster: newPoster(1, onlyHTTP2(), answerWithin), // which carries many requests at once
		tokens: &providerTokens{key: key},
	}
}

// Name implements Provider.
func (*APNs) Name() string { return "apns" }

// Takes implements Provider.
func (*APNs) Takes(token string) bool { return isAppleToken(token) }

// isAppleToken knows a token of Apple's by its form: hex, of 32 bytes or more.
func isAppleToken(token string) bool {
	return len(token) >= 64 && strings.Trim(token, "0123456789abcdefABCDEF") == ""
}

// Send implements Provider.
func (p *APNs) Send(ctx context.Context, n Notification) (string, error) {
	payload, err := apnsPayload(n)
	if err != nil {
		return "", err
	}
	for renewed := false; ; renewed = true {
		bearer, err := p.tokens.current()
		if err != nil {
			return "", &Away{Cause: err, Everybody: true, Settings: true}
		}
		a, err := p.post(ctx, p.url+url.PathEscape(n.Token), p.header(n, bearer), payload)
		if err != nil {
			return "", err
		}
		id, reason, err := judgeAPNs(a)
		if reason != "ExpiredProviderToken" || renewed {
			return id, err
		}
		p.tokens.drop(bearer) // this clock is not Apple's: once more, with a fresh one
	}
}

func (p *APNs) header(n Notification, bearer string) http.Header {
	priority := "5"
	if n.Priority >= highPriority {
		priority = "10"
	}
	return http.Header{
		"Authorization": {"bearer " + bearer}, "Apns-Topic": {p.topic}, "Apns-Push-Type": {"alert"},
		"Apns-Priority": {priority}, "Apns-Collapse-Id": {collapseID(n.RequestID)},
	}
}

// apnsPayload puts the variables beside Apple's own key, as text, as they come by FCM.
func apnsPayload(n Notification) ([]byte, error) {
	data, err := texts(n.Data, func(key string) bool { return key == "aps" })
	if err != nil {
		return nil, err
	}
	all := map[string]any{"aps": map[string]any{"alert": map[string]string{"title": n.Title, "body": n.Body}}}
	for key, value := range maps.All(data) {
		all[key] = value
	}
	payload, err := writeJSON(all)
	if err != nil || len(payload) > maxPayload {
		return nil, tooLarge(len(payload))
	}
	return payload, nil
}

// judgeAPNs gives Apple's reason too.
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
func judgeAPNs(a answer) (id, reason string, err error) {
	var fault struct {
		Reason    string
		Timestamp int64 // milliseconds since 1970
	}
	if a.status == http.StatusOK {
		if id = a.header.Get("Apns-Id"); !storable(id, maxProviderID) {
			id = ""
		}
		return id, "", nil
	}
	_ = json.Unmarshal(a.body, &fault) // then it has no reason
	if !storable(fault.Reason, maxProviderID) {
		fault.Reason = ""
	}
	refusal := fmt.Errorf("APNs answered %d %s", a.status, fault.Reason)
	switch a.status {
	case http.StatusGone:
		dead := new(DeadToken)
		if fault.Timestamp > 0 {
			since := time.UnixMilli(fault.Timestamp)
			dead.Since = &since
		}
		err = dead
	case http.StatusTooManyRequests: // to one device, or new tokens of ours
		err = &Away{Cause: refusal, RetryAfter: max(time.Minute, a.retryAfter()), Busy: true, Everybody: fault.Reason == "TooManyProviderTokenUpdates"}
	case http.StatusForbidden: // the key, the team or the topic
		err = &Away{Cause: refusal, Everybody: true, Settings: true}
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		err = rejected(refusal.Error())
		switch fault.Reason {
		case "BadTopic", "MissingTopic", "TopicDisallowed", "BadCertificateEnvironment": // no message can cause these
			err = &Away{Cause: refusal, Everybody: true, Settings: true}
		case "IdleTimeout": // of the connection
			err = &Away{Cause: refusal, Soon: true}
		}
	default:
		err = &Away{Cause: refusal, RetryAfter: a.retryAfter()}
	}
	return "", fault.Reason, err
}
