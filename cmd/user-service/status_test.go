package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// gateway is a sibling that wants to know what became of its notifications.
type gateway struct {
	url string

	mu     sync.Mutex
	told   map[string][]map[string]any // by notification_id
	header map[string]http.Header
	taken  map[string]bool
	status int
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{told: map[string][]map[string]any{}, header: map[string]http.Header{}, taken: map[string]bool{}, status: http.StatusNoContent}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(req.Body).Decode(&body)
		g.mu.Lock()
		defer g.mu.Unlock()
		id, _ := body["notification_id"].(string)
		g.told[id] = append(g.told[id], body)
		g.header[id], g.taken[id] = req.Header.Clone(), g.status < 300
		w.WriteHeader(g.status)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *gateway) of(id string) []map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told[id]
}

func (g *gateway) answers(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

func TestGatewayIsToldWhatBecameOfItsNotifications(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	g := newGateway(t)
	s.config.StatusWebhookURL = g.url
	i := s.start(t)
	b := s.broker(t)
	k := i.register()
	bare := i.register(func(body map[string]any) { body["push_token"] = nil })
	send := func(userID string, changes ...func(map[string]any)) string {
		id := uuid.NewString()
		message := pushBody(userID, id, changes...)
		message.CorrelationId = "trace-" + id
		b.push(message)
		return id
	}
	for id, want := range map[string][2]any{
		send(k.id()):    {"delivered", nil},
		send(bare.id()): {"failed", "no_push_token"},
		send(k.id(), func(body map[string]any) { body["template_code"] = "none_such" }): {"failed", "unknown_template"},
	} {
		servertest.Eventually(t, func() bool { return len(g.of(id)) == 1 }, "told of %v", want)
		told := g.of(id)[0]
		require.Equal(t, want, [2]any{told["status"], told["error"]})
		require.NotEmpty(t, told["timestamp"])
		require.Len(t, told, 4)
		require.Equal(t, "trace-"+id, g.header[id].Get("X-Correlation-ID"))
	}

	again := make(chan struct{})
	s.provider.answers(func(map[string]any) (int, string) {
		select {
		case <-again:
			return http.StatusOK, ""
		default:
			return http.StatusServiceUnavailable, ""
		}
	})
	later := send(k.id())
	servertest.Eventually(t, func() bool { return len(g.of(later)) > 0 }, "told that it is not delivered yet")
	require.Equal(t, [2]any{"pending", "provider_unavailable"}, [2]any{g.of(later)[0]["status"], g.of(later)[0]["error"]})
	close(again)
	servertest.Eventually(t, func() bool { return g.of(later)[len(g.of(later))-1]["status"] == "delivered" }, "told that it is")

	g.answers(http.StatusServiceUnavailable)
	id := send(k.id())
	servertest.Eventually(t, func() bool { return len(g.of(id)) > len(s.config.PushRetrySteps)+1 }, "told more often than a message has attempts")
	require.Equal(t, 1, b.length("failed.queue"), "the one of no template")
	g.answers(http.StatusOK)
	servertest.Eventually(t, func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.taken[id] }, "taken in the end")

	g.answers(http.StatusUnprocessableEntity)
	refused := send(k.id())
	b.deadOf("status_rejected")
	require.Len(t, g.of(refused), 1)
}
