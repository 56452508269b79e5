package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"user-service/platform/fault"
)

// envelope is the form of every reply, CONTRACT "Envelope".
type envelope struct {
	Success bool         `json:"success"`
	Message string       `json:"message"`
	Data    any          `json:"data,omitempty"`
	Meta    *Meta        `json:"meta,omitempty"`
	Error   string       `json:"error,omitempty"`
	Errors  fault.Fields `json:"errors,omitempty"`
}

// statuses is the one map from what went wrong to HTTP.
var statuses = map[fault.Kind]int{
	fault.Internal:         http.StatusInternalServerError,
	fault.Invalid:          http.StatusBadRequest,
	fault.Unauthenticated:  http.StatusUnauthorized,
	fault.Forbidden:        http.StatusForbidden,
	fault.NotFound:         http.StatusNotFound,
	fault.MethodNotAllowed: http.StatusMethodNotAllowed,
	fault.Conflict:         http.StatusConflict,
	fault.Unprocessable:    http.StatusUnprocessableEntity,
	fault.TooLarge:         http.StatusRequestEntityTooLarge,
	fault.UnsupportedType:  http.StatusUnsupportedMediaType,
	fault.RateLimited:      http.StatusTooManyRequests,
	fault.TooSlow:          http.StatusRequestTimeout,
	fault.ClientLeft:       499, // as nginx logs it
	fault.Unavailable:      http.StatusServiceUnavailable,
}

// reply is an answer as it goes out, so that it can be kept and go out again.
type reply struct {
	status     int
	body       []byte
	challenge  string // WWW-Authenticate
	retryAfter time.Duration
	replayed   bool
}

func success(status int, message string, data any) (reply, error) {
	if encoded, ok := data.(interface{ json() []byte }); ok && len(encoded.json()) > 0 { // else package json says what is wrong
		return reply{status: max(status, http.StatusOK), body: around(encoded.json(), message)}, nil
	}
	e := envelope{Success: true, Message: message, Data: data}
	if page, ok := data.(paged); ok {
		e.Data, e.Meta = page.list()
	}
	body, err := encode(e)
	return reply{status: max(status, http.StatusOK), body: body}, err
}

// refusal shows f. data goes along only where a failure has something to tell, as health does.
func refusal(f *fault.Fault, data any) reply {
	body, _ := encode(envelope{Message: f.Message, Error: f.Code, Errors: f.Fields, Data: data}) // text only: it cannot fail
	r := reply{status: statuses[f.Kind], body: body, retryAfter: f.RetryAfter}
	if f.Kind == fault.Unauthenticated {
		r.challenge = challenge(f)
	}
	return r
}

// challenge is RFC 6750 section 3: only of a token that was sent an error is told.
func challenge(f *fault.Fault) string {
	if !strings.HasPrefix(f.Code, "token_") {
		return `Bearer realm="user-service"`
	}
	return `Bearer realm="user-service", error="invalid_token", error_description="` + f.Code + `"`
}

func encode(e envelope) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(e)
	return buf.Bytes(), err
}

// openings are the envelopes of success up to their data, by message: there are as many as endpoints.
var openings sync.Map

// around is the envelope of data that is JSON already. Package json would look through it once more.
func around(data []byte, message string) []byte {
	opening, known := openings.Load(message)
	if !known {
		whole, _ := encode(envelope{Success: true, Message: message}) // text only: it cannot fail
		opening = string(bytes.TrimSuffix(whole, []byte("}\n"))) + `,"data":`
		openings.Store(message, opening)
	}
	body := append(make([]byte, 0, len(opening.(string))+len(data)+len("}\n")), opening.(string)...) //nolint:errcheck,forcetypeassert // we stored it
	return append(append(body, data...), "}\n"...)
}

// The headers of every reply, in the form of http.Header, so that they need not be made for each.
var replyHeaders = http.Header{
	"Content-Type":           {"application/json; charset=utf-8"},
	"Cache-Control":          {"no-store"},
	"X-Content-Type-Options": {"nosniff"},
}

func (r reply) send(w http.ResponseWriter) {
	header := w.Header()
	for name, value := range replyHeaders {
		header[name] = value[:1:1]
	}
	header["Content-Length"] = []string{strconv.Itoa(len(r.body))}
	if r.challenge != "" {
		header.Set("WWW-Authenticate", r.challenge)
	}
	if r.retryAfter > 0 {
		header.Set("Retry-After", wholeSeconds(r.retryAfter))
	}
	if r.replayed {
		header.Set(replayedHeader, "true")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // a client that left is not our fault
}
