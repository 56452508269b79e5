package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

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
	fault.TooLarge:         http.StatusRequestEntityTooLarge,
	fault.UnsupportedType:  http.StatusUnsupportedMediaType,
	fault.RateLimited:      http.StatusTooManyRequests,
	fault.TooSlow:          http.StatusRequestTimeout,
	fault.Unavailable:      http.StatusServiceUnavailable,
}

func writeSuccess(w http.ResponseWriter, status int, message string, data any) error {
	reply := envelope{Success: true, Message: message, Data: data}
	if paged, ok := data.(interface{ list() (any, *Meta) }); ok {
		reply.Data, reply.Meta = paged.list()
	}
	return write(w, status, reply)
}

// writeFault shows f. data goes along only where a failure has something to tell, as health does.
func writeFault(w http.ResponseWriter, f *fault.Fault, data any) {
	header := w.Header()
	if f.RetryAfter > 0 {
		header.Set("Retry-After", wholeSeconds(f.RetryAfter))
	}
	if f.Kind == fault.Unauthenticated {
		header.Set("WWW-Authenticate", challenge(f))
	}
	_ = write(w, statuses[f.Kind], envelope{Message: f.Message, Error: f.Code, Errors: f.Fields, Data: data})
}

// challenge is RFC 6750 section 3: only of a token that was sent an error is told.
func challenge(f *fault.Fault) string {
	if !strings.HasPrefix(f.Code, "token_") {
		return `Bearer realm="user-service"`
	}
	return `Bearer realm="user-service", error="invalid_token", error_description="` + f.Code + `"`
}

func write(w http.ResponseWriter, status int, body envelope) error {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(buf.Len()))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // a client that left is not our fault
	return nil
}
