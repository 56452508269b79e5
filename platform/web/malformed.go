package web

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"user-service/platform/correlation"
)

// net/http answers what it cannot read as a request before any handler is asked, in plain text. Its
// answers leave in one write each, and are replaced there by ours.
var (
	statusLine = []byte("HTTP/1.1 ")
	lineBreak  = []byte("\r\n")
	plainText  = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
	unexpected = []byte("HTTP/1.1 417 Expectation Failed\r\n")
)

var malformed = map[int]envelope{
	http.StatusBadRequest:                  {Error: "malformed_request", Message: "This cannot be read as an HTTP request."},
	http.StatusExpectationFailed:           {Error: "expectation_failed", Message: "The only expectation that can be met is 100-continue."},
	http.StatusRequestHeaderFieldsTooLarge: {Error: "headers_too_large", Message: "The address and the headers may have 64 KiB together."},
	http.StatusNotImplemented:              {Error: "transfer_encoding_unknown", Message: "The only transfer encoding that can be read is chunked."},
	http.StatusHTTPVersionNotSupported:     {Error: "version_not_supported", Message: "HTTP/1.1 is spoken here."},
}

// envelopes is a listener on whose connections the answers of net/http itself have the envelope too.
type envelopes struct{ net.Listener }

func (l envelopes) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return enveloped{tcp}, nil
	}
	return conn, err
}

// enveloped keeps the methods of a TCP connection that net/http asks for.
type enveloped struct{ *net.TCPConn }

func (c enveloped) Write(p []byte) (int, error) {
	status, ok := cannedStatus(p)
	if !ok {
		return c.TCPConn.Write(p)
	}
	ids := correlation.Accept("", "")
	text := malformedReply(status, ids.Correlation)
	if _, err := c.TCPConn.Write(text); err != nil {
		return 0, err
	}
	// There is no request to give a logger with it.
	slog.LogAttrs(correlation.With(context.Background(), ids), slog.LevelInfo, "request", slog.String("logger", "http"),
		slog.String("method", "other"), slog.String("route", "none"), slog.Int("status", status), slog.Float64("duration_ms", 0), slog.Int("bytes", len(text)))
	return len(p), nil
}

// cannedStatus finds answers that are not ours: right behind the first line they have these headers,
// where a handler's reply has others too, and line breaks in JSON are escaped.
func cannedStatus(p []byte) (status int, ok bool) {
	if !bytes.HasPrefix(p, statusLine) {
		return 0, false
	}
	if end := bytes.Index(p, lineBreak); !bytes.HasPrefix(p[max(end, 0):], plainText) && !bytes.HasPrefix(p, unexpected) {
		return 0, false
	}
	status, err := strconv.Atoi(string(p[len(statusLine) : len(statusLine)+len("400")]))
	return status, err == nil
}

func malformedReply(status int, correlationID string) []byte {
	e, known := malformed[status]
	if !known {
		e = malformed[http.StatusBadRequest]
	}
	body, _ := encode(e) // text only: it cannot fail
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\n%s: %s\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), correlation.Header, correlationID, body)
}
