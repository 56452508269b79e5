package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"user-service/platform/correlation"
)

// What the providers behind HTTP have in common.

const (
	answerWithin = 10 * time.Second // FCM asks for no less
	idleTimeout  = 90 * time.Second
	pingAfter    = 15 * time.Second // of silence on an HTTP/2 connection, to notice one that is half dead
	pingWithin   = 5 * time.Second
	maxAnswer    = 64 << 10 // bytes of an answer that are read

	maxProviderID = 255
	maxPayload    = 4096 // bytes, of FCM and of APNs
	maxCollapseID = 64   // bytes, of APNs
)

// poster sends JSON to another side.
type poster struct {
	transport *http.Transport
	within    time.Duration // an answer comes, or none
}

// newPoster keeps as many connections open as messages are sent at once.
func newPoster(concurrency int, protocols *http.Protocols, within time.Duration) poster {
	return poster{&http.Transport{
		Proxy: http.ProxyFromEnvironment, Protocols: protocols,
		MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, IdleConnTimeout: idleTimeout,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWithin},
	}, within}
}

// anyHTTP is HTTP/2 where the other side knows it; onlyHTTP2 is for APNs, which knows nothing else.
func anyHTTP() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	return p
}

func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// passOn has the other side, one of ours, go on with the ids of ctx.
func passOn(ctx context.Context) http.Header {
	ids := correlation.From(ctx)
	header := make(http.Header, 3)
	header.Set(correlation.Header, ids.Correlation)
	if ids.Traceparent != "" {
		header.Set(correlation.TraceHeader, ids.Traceparent)
	}
	return header
}

// answer is what the other side said.
type answer struct {
	status int
	header http.Header
	body   []byte // its first maxAnswer bytes
}

// post sends body and reads the answer; *Away when there is none. header is its own from then on. No error names
// more of the address than its host: the path may be the secret. It goes by the transport itself, since http.Client
// takes a sixth more for what is not wanted here.
func (p poster) post(ctx context.Context, address string, header http.Header, body []byte) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return a, &Away{Cause: errors.New("its address is no URL")}
	}
	req.Header = header
	header.Set("Content-Type", "application/json")
	if user := req.URL.User; user != nil && header.Get("Authorization") == "" {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return a, p.noAnswer(err)
	}
	defer func() { _ = resp.Body.Close() }()
	told, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode/100 != 2 { // accepted is accepted, whatever came after
		return a, &Away{Cause: err}
	}
	return answer{resp.StatusCode, resp.Header, told}, nil
}

func (p poster) noAnswer(err error) *Away {
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return &Away{Cause: fmt.Errorf("no answer within %v: %w", p.within, err)}
	}
	return &Away{Cause: err, Soon: true}
}

// isFinal tells whether the other side judged the message, and will not judge otherwise later. Of all
// other refusals a new version, address or key of it may be the cause.
func (a answer) isFinal() bool {
	switch a.status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// later is what a refusal means that is not final.
func (a answer) later(refusal error) *Away {
	ours := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	return &Away{Cause: refusal, RetryAfter: a.retryAfter(), Busy: a.status == http.StatusTooManyRequests, Everybody: ours, Settings: ours}
}

// retryAfter reads RFC 9110 section 10.2.3: seconds or a date.
func (a answer) retryAfter() time.Duration {
	value := a.header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// collapseID is by what a device knows a notification that it shows already. It is the request_id, or
// a digest of one that is too long or has what a header may not hold.
func collapseID(requestID string) string {
	plain := !strings.ContainsFunc(requestID, func(r rune) bool { return r <= ' ' || r > '~' })
	if plain && len(requestID) <= maxCollapseID {
		return requestID
	}
	sum := sha256.Sum256([]byte(requestID))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// texts are variables as FCM takes them, all text; what is null is left out. Keys that the provider
// keeps for itself are refused.
func texts(variables map[string]any, reserved func(key string) bool) (map[string]string, error) {
	all := make(map[string]string, len(variables))
	for key, value := range variables {
		if reserved(key) {
			return nil, &Rejected{"reserved_variable", fmt.Sprintf("the provider keeps the variable name %q for itself", key)}
		}
		switch value := value.(type) {
		case nil:
		case string:
			all[key] = value
		case json.Number:
			all[key] = value.String()
		default: // a truth value, a list or an object
			written, err := writeJSON(value)
			if err != nil {
				return nil, rejected(fmt.Sprintf("the variable %q cannot be written as JSON", key))
			}
			all[key] = string(written)
		}
	}
	return all, nil
}

// writeJSON leaves <, > and & as they are: a vendor counts bytes, and each of them would be six.
func writeJSON(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

func tooLarge(bytes int) *Rejected {
	return &Rejected{"payload_too_large", fmt.Sprintf("title, body and variables have %d bytes; accepted: %d", bytes, maxPayload)}
}
