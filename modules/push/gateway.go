package push

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"user-service/messaging"
	"user-service/messaging/events"
)

// Gateway is a sibling that wants to be told what became of push messages. It learns of them from the
// push.* events, which left by the outbox, so that none is missed.
type Gateway struct {
	url string
	poster
	breaker *breaker
}

// NewGateway posts to address. attempts is how often it may refuse to take what it is told.
func NewGateway(address string, concurrency, attempts int, log *slog.Logger) *Gateway {
	return &Gateway{address, newPoster(concurrency, anyHTTP(), answerWithin), newBreaker("status-webhook", attempts, log.With("logger", "push"))}
}

// Breaker tells the consumer when the gateway is away.
func (g *Gateway) Breaker() messaging.Breaker { return gate{providers: []*breaker{g.breaker}} }

// Collectors give the state of its breaker.
func (g *Gateway) Collectors() []prometheus.Collector { return g.breaker.collectors() }

// statusReport is what the gateway is told.
type statusReport struct {
	NotificationID string    `json:"notification_id"`
	Status         string    `json:"status"` // delivered, failed or pending
	Timestamp      time.Time `json:"timestamp"`
	Error          *string   `json:"error"` // why it failed, or is not delivered yet
}

// Handle tells one event.
func (g *Gateway) Handle(ctx context.Context, d messaging.Delivery) error {
	event, err := messaging.ReadEvent(d)
	if err != nil {
		return err
	}
	var became events.PushOutcome
	if err := json.Unmarshal(event.Data, &became); err != nil || became.RequestID == "" {
		return &messaging.Permanent{Reason: "malformed", Detail: "the event is not of a push message"}
	}
	told := statusReport{NotificationID: became.RequestID, Timestamp: event.Time}
	switch event.Type {
	case events.PushSent{}.Type():
		told.Status = "delivered"
	case events.PushRetried{}.Type():
		told.Status, told.Error = "pending", &became.Reason
	default: // skipped is not delivered, and will not be
		told.Status, told.Error = "failed", &became.Reason
	}
	body, err := json.Marshal(told)
	if err != nil {
		return fmt.Errorf("write a status: %w", err)
	}
	return asMessage(quickly(ctx, func() error {
		return g.breaker.try(func() error { return g.tell(ctx, body) })
	}))
}

func (g *Gateway) tell(ctx context.Context, body []byte) error {
	a, err := g.post(ctx, g.url, passOn(ctx), body)
	if err != nil {
		return err
	}
	refusal := fmt.Errorf("the gateway answered %d", a.status)
	switch {
	case a.status/100 == 2:
		return nil
	case a.isFinal():
		return &Rejected{"status_rejected", refusal.Error()}
	}
	return a.later(refusal)
}
