package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	collected "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes spans by OTLP, as Jaeger or Tempo does.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	spans  []*trace.Span
	text   strings.Builder // all that was sent
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var sent collected.ExportTraceServiceRequest
		if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.text.WriteString(sent.String())
		for _, resource := range sent.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.server.Close)
	return c
}

// traceContext is a trace that somebody else has begun.
type traceContext struct{ trace, span string }

func newTrace() traceContext {
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	return traceContext{id, id[:16]}
}

func (c traceContext) String() string { return "00-" + c.trace + "-" + c.span + "-01" }

// under are the spans of a trace that have this name and this parent.
func (c *collector) under(t *testing.T, parent traceContext, name string) (found []traceContext) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var others []string
	for _, span := range c.spans {
		if hex.EncodeToString(span.TraceId) != parent.trace {
			continue
		}
		if hex.EncodeToString(span.ParentSpanId) == parent.span && span.Name == name {
			found = append(found, traceContext{parent.trace, hex.EncodeToString(span.SpanId)})
		}
		others = append(others, span.Name)
	}
	require.NotEmpty(t, found, "no span %q under %s; the trace has %q", name, parent.span, others)
	return found
}

// eventsWithHeaders are what user.events carries from now on, by type.
func (b *broker) eventsWithHeaders() <-chan amqp.Delivery {
	b.t.Helper()
	queue, err := b.ch.QueueDeclare("", false, false, true, false, nil)
	require.NoError(b.t, err)
	for _, key := range []string{"user.profile_updated", "push.sent"} {
		require.NoError(b.t, b.ch.QueueBind(queue.Name, key, "user.events", false, nil))
	}
	deliveries, err := b.ch.Consume(queue.Name, "", true, true, false, false, nil)
	require.NoError(b.t, err)
	return deliveries
}

func TestOneTraceLeadsFromARequestOrAMessageToAllThatItCauses(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := newCollector(t)
	told := make(chan string, 1)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		told <- req.Header.Get("traceparent")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(provider.Close)
	// Spans are kept back longer than the test takes: what arrives was flushed at the end.
	p := s.run(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.server.URL, "OTEL_SERVICE_NAME=named-by-the-operator", "OTEL_BSP_SCHEDULE_DELAY=600000",
		"PUSH_WEBHOOK_URL="+provider.URL)
	b := s.broker(t)
	arriving := b.eventsWithHeaders()
	k := p.register()

	request := newTrace()
	req, err := http.NewRequest(http.MethodPatch, p.base+"/api/v1/users/me/", strings.NewReader(`{"name": "Traced"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+k.AccessToken)
	req.Header.Set("traceparent", request.String())
	require.Equal(t, 200, p.do(req).Status)
	updated := <-arriving

	wish := newTrace()
	req, err = http.NewRequest(http.MethodPost, p.base+resetPath, strings.NewReader(fmt.Sprintf(`{"email": %q}`, k.User["email"])))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("traceparent", wish.String())
	require.Equal(t, 200, p.do(req).Status)
	b.mail(k.User["email"], "password_reset")

	message := newTrace()
	push := pushBody(k.id(), uuid.NewString())
	push.Headers = amqp.Table{"traceparent": message.String()}
	b.push(push)
	toProvider, sent := <-told, <-arriving
	p.login(k)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "%s", p.output)

	served := c.under(t, request, "PATCH /api/v1/users/me/")[0]
	c.under(t, served, "UPDATE")
	c.under(t, served, "COMMIT")
	published := c.under(t, served, "publish user.profile_updated")[0]
	require.Equal(t, published.String(), updated.Headers["traceparent"])
	var event struct{ Traceparent string }
	require.NoError(t, json.Unmarshal(updated.Body, &event))
	require.Equal(t, published.String(), event.Traceparent)

	c.under(t, c.under(t, wish, "POST "+resetPath)[0], "publish email")

	processed := c.under(t, message, "process push.queue")[0]
	c.under(t, c.under(t, processed, "reserve")[0], "WITH")
	c.under(t, c.under(t, processed, "record")[0], "COMMIT")
	require.Equal(t, c.under(t, processed, "push by webhook")[0].String(), toProvider)
	require.Equal(t, c.under(t, processed, "publish push.sent")[0].String(), sent.Headers["traceparent"])

	require.Contains(t, c.text.String(), "named-by-the-operator")
	require.Contains(t, c.text.String(), "UPDATE profile.users SET")
	for _, secret := range []string{k.User["email"].(string), "example.com", goodPassword, k.AccessToken, k.RefreshToken, k.User["push_token"].(string), string(s.config.SecretKey)} {
		require.NotContains(t, c.text.String(), secret)
	}
}

func TestCollectorThatIsAwayHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=600000")
	k := p.register()
	require.Equal(t, 200, p.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "%s", p.output)
	require.Contains(t, p.output.String(), "the last traces were not sent")
}

func TestTraceThatIsNotSampledHasNoSpansAndIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := newCollector(t)
	p := s.run(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.server.URL, "OTEL_TRACES_SAMPLER=parentbased_always_off")
	b := s.broker(t)
	arriving := b.eventsWithHeaders()
	k := p.register()
	unsampled := newTrace()
	req, err := http.NewRequest(http.MethodPatch, p.base+"/api/v1/users/me/", strings.NewReader(`{"name": "Untraced"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+k.AccessToken)
	req.Header.Set("traceparent", strings.TrimSuffix(unsampled.String(), "01")+"00")
	require.Equal(t, 200, p.do(req).Status)
	require.Regexp(t, "^00-"+unsampled.trace+"-[0-9a-f]{16}-00$", (<-arriving).Headers["traceparent"])
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "%s", p.output)
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.spans)
}
