package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"user-service/platform/correlation"
)

const (
	webhookTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer that are read
	maxProviderID  = 255
)

// WebhookProvider posts notifications to a URL: 2xx is accepted, with an optional {"id"}; 429, 5xx
// and silence are for now; 410 is a dead token; every other 4xx is for good.
type WebhookProvider struct {
	url    string
	client *http.Client
}

// NewWebhookProvider posts to address, and keeps as many connections open as messages are sent at once.
func NewWebhookProvider(address string, concurrency int) *WebhookProvider {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, IdleConnTimeout: idleTimeout,
	}
	return &WebhookProvider{url: address, client: &http.Client{
		Timeout: webhookTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name implements Provider.
func (*WebhookProvider) Name() string { return "webhook" }

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
		return "", &Rejected{Detail: "the notification cannot be written as JSON"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return "", &Away{Cause: err}
	}
	req.Header.Set("Content-Type", "application/json")
	ids := correlation.From(ctx)
	req.Header.Set(correlation.Header, ids.Correlation)
	if ids.Traceparent != "" {
		req.Header.Set(correlation.TraceHeader, ids.Traceparent)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // without the URL: its path may be the secret
		}
		return "", &Away{Cause: err}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode/100 != 2 { // accepted is accepted, whatever came after
		return "", &Away{Cause: err}
	}
	return judge(resp, answer)
}

func judge(resp *http.Response, answer []byte) (string, error) {
	status := resp.StatusCode
	refusal := fmt.Errorf("the webhook answered %d", status)
	switch {
	case status/100 == 2:
		return acceptedID(answer), nil
	case status == http.StatusGone:
		return "", ErrDeadToken
	case status == http.StatusTooManyRequests:
		return "", &Away{Cause: refusal, RetryAfter: retryAfter(resp), Busy: true}
	case status/100 == 4:
		return "", &Rejected{Detail: refusal.Error()}
	}
	return "", &Away{Cause: refusal, RetryAfter: retryAfter(resp)} // 5xx, and redirects, which an operator can mend
}

// acceptedID is a string or a number; anything else, and an answer that is no JSON, names no id.
func acceptedID(answer []byte) string {
	var accepted struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(answer, &accepted) != nil {
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

// retryAfter reads RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}
