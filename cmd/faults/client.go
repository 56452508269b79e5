package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// client asks the two instances of the API, as a load balancer with a memory would: one that did not
// answer is left alone for a while.
type client struct {
	addresses [2]string
	http      *http.Client
	shunned   [2]atomic.Int64 // until then, nanoseconds since 1970
	record    *recorder
}

const (
	patience = 8 * time.Second // for one answer
	shunFor  = time.Second
)

func newClient(a, b string, record *recorder) *client {
	return &client{
		addresses: [2]string{a, b}, record: record,
		http: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * people, IdleConnTimeout: 30 * time.Second}},
	}
}

// request is one of HTTP, that may be sent several times.
type request struct {
	method, path, token string
	id                  string // X-Request-ID
	body                any    // nil: none
	since               *span  // when it was sent first
}

// answer is what the API said.
type answer struct {
	status     int
	retryAfter time.Duration
	Error      string
	Data       json.RawMessage
}

// once sends r to one instance. A status of 0 is none.
func (c *client) once(ctx context.Context, instance int, r request) (a answer, err error) {
	span, begin := c.record.now.Load(), time.Now()
	defer func() { span.add(r, time.Since(begin), a) }()
	var body bytes.Buffer
	if r.body != nil {
		if err := json.NewEncoder(&body).Encode(r.body); err != nil {
			return a, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+c.addresses[instance]+"/api/v1"+r.path, &body)
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.id != "" {
		req.Header.Set("X-Request-ID", r.id)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("no envelope: %q", text)
	}
	a.status = resp.StatusCode
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	a.retryAfter = time.Duration(seconds) * time.Second
	return a, nil
}

// insist repeats r until it is answered for good, at the wished instance as long as that answers. It
// says which instance answered.
func (c *client) insist(ctx context.Context, instance int, r request) (answer, int, error) {
	r.since = c.record.now.Load()
	for ctx.Err() == nil {
		at := instance
		if time.Now().UnixNano() < c.shunned[at].Load() {
			at = 1 - at
		}
		a, err := c.once(ctx, at, r)
		var wait time.Duration
		switch {
		case err != nil:
			c.shunned[at].Store(time.Now().Add(shunFor).UnixNano())
			wait = 50 * time.Millisecond
		case a.status >= 500:
			wait = 300 * time.Millisecond
		case a.Error == "request_in_progress":
			wait = a.retryAfter
		default:
			return a, at, nil
		}
		pause(ctx, wait+rand.N(wait+1))
	}
	return answer{}, 0, ctx.Err()
}
