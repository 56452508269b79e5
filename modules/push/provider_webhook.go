package push

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// WebhookProvider posts notifications to a URL: 2xx is accepted, with an optional {"id"}; 410 is a dead
// token; 400, 409, 413, 415 and 422 are for good; anything else is for now, and with 401 and 403 a fault
// of the settings.
type WebhookProvider struct {
	url string
	poster
}

// NewWebhookProvider posts to address, and keeps as many connections open as messages are sent at once.
func NewWebhookProvider(address string, concurrency int) *WebhookProvider {
	return &WebhookProvider{address, newPoster(concurrency, anyHTTP(), answerWithin)}
}

// Name implements Provider.
func (*WebhookProvider) Name() string { return "webhook" }

// Takes implements Provider.
func (*WebhookProvider) Takes(string) bool { return true }

type webhookRequest struct {
	RequestID string         `json:"request_id"`
	UserID    string         `json:"user_id"`
	Token     string         `json:"token"`
	Title     string         `json:"title"`
	Body      string         `json:"body"`
	Data      map[string]any `json:"data"`
	Priority  int            `json:"priority"`
}

// Send implements Provider.
func (p *WebhookProvider) Send(ctx context.Context, n Notification) (string, error) {
	body, err := json.Marshal(webhookRequest(n))
	if err != nil {
		return "", rejected("the notification cannot be written as JSON")
	}
	a, err := p.post(ctx, p.url, passOn(ctx), body)
	if err != nil {
		return "", err
	}
	return judgeWebhook(a)
}

func judgeWebhook(a answer) (string, error) {
	refusal := fmt.Errorf("the webhook answered %d", a.status)
	switch {
	case a.status/100 == 2:
		return acceptedID(a.body), nil
	case a.status == http.StatusGone:
		return "", new(DeadToken)
	case a.isFinal():
		return "", rejected(refusal.Error())
	}
	return "", a.later(refusal)
}

// acceptedID is a string or a number; anything else, and an answer that is no JSON, names no id.
func acceptedID(body []byte) string {
	var accepted struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(body, &accepted) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(accepted.ID, &text) != nil {
		var number json.Number
		if json.Unmarshal(accepted.ID, &number) != nil {
			return ""
		}
		text = number.String()
	}
	if !storable(text, maxProviderID) {
		return ""
	}
	return text
}
