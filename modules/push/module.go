// Package push delivers the messages of push.queue to the devices of users.
//
//	Owns:      schema push
//	Serves:    GET /users/notifications/, GET /notifications/, GET /notifications/{request_id}/,
//	           POST /notifications/test/, POST /notifications/failed/requeue/
//	Handles:   AddRecipients
//	Sends:     DescribeUser, ForgetPushToken, SendPush
//	Publishes: PushSent, PushSkipped, PushFailed, PushRetried
//	Follows:   UserRegistered, UserDeactivated, UserReactivated, PushTokenChanged, PreferencesChanged
//
// It promises one outcome for each request_id: sent, skipped or failed, with its event. A message is
// handed to the provider twice only when its acceptance was not heard of or could not be recorded:
// the process died, the answer came too late, or the database stayed away.
package push

import (
	"log/slog"
	"net/http"
	"time"

	"user-service/messaging"
	"user-service/platform/batch"
	"user-service/platform/fault"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// Module is push, wired.
type Module struct {
	db        *postgres.DB
	bus       *messaging.Bus
	store     store
	templates texter
	providers []*guarded
	failed    messaging.FailedQueue
	attempts  int
	sending   seats // of the messages that are being sent
	metrics   metrics
	log       *slog.Logger

	reservations *batch.Keyed[request, reservation]
	outcomes     *batch.Keyed[outcome, struct{}]
}

// Settings are what an operator decides of deliveries.
type Settings struct {
	Providers   []Provider // the first takes the tokens that none knows by their form
	Templates   Templates
	Service     *TemplateService // nil: Templates give the texts
	Failed      messaging.FailedQueue
	Attempts    int // how often a message may fail
	Concurrency int // messages that are being sent at once
}

// New wires the module.
func New(db *postgres.DB, bus *messaging.Bus, s Settings, log *slog.Logger) *Module {
	log = log.With("logger", "push")
	figures := newMetrics()
	m := &Module{
		db: db, bus: bus, store: store{db}, templates: s.Templates, metrics: figures, log: log,
		failed: s.Failed, attempts: s.Attempts, sending: make(seats, max(s.Concurrency, 1)), providers: guard(s.Providers, s.Attempts, s.Concurrency, figures, log),
	}
	inCompany := batch.Manner{Linger: time.Millisecond} // the broker hands over what it has one by one
	m.reservations = batch.NewKeyed("reserve", inCompany, m.store.reserve)
	m.outcomes = batch.NewKeyed("record", inCompany, m.recordAll)
	if s.Service != nil {
		m.templates = newRendered(s.Service, s.Attempts, log)
	}
	return m
}

// Subscribe adds the module's handlers to the bus.
func (m *Module) Subscribe() {
	messaging.Handle(m.bus, m.addRecipients)
	messaging.Follow(m.bus, m.userRegistered)
	messaging.Follow(m.bus, m.userDeactivated)
	messaging.Follow(m.bus, m.userReactivated)
	messaging.Follow(m.bus, m.pushTokenChanged)
	messaging.FollowAll(m.bus, m.preferencesChanged)
}

// Routes adds the module's endpoints. Whether users may try out a delivery is for callers to decide.
func (m *Module) Routes(r *web.Router, trials bool) {
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/notifications/", Summary: "List one's own notifications", Access: web.Bearer, Message: "These are your notifications."}, m.listOwn)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/notifications/", Summary: "List notifications", Access: web.Staff, Message: "These are the notifications."}, m.list)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/notifications/{request_id}/", Summary: "Show what became of a notification", Faults: []*fault.Fault{errNoSuchDelivery}, Access: web.Staff, Message: "This is what became of the notification."}, m.showDelivery)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/notifications/failed/requeue/", Summary: "Have failed notifications be handled once more", Access: web.Staff, Message: "The failed notifications have been looked through."}, m.giveBackFailed)
	if trials {
		web.Handle(r, web.Endpoint{Method: "POST", Path: "/notifications/test/", Summary: "Send oneself a notification, where that is allowed", Faults: []*fault.Fault{web.ErrNoSuchAddress}, Access: web.Bearer, Status: http.StatusAccepted, Message: "A notification is on its way to you."}, m.try)
	} else {
		r.Nowhere(http.MethodPost, "/notifications/test/")
	}
}

// Breaker tells the consumer when no message could be sent.
func (m *Module) Breaker() messaging.Breaker {
	g := gate{templates: m.templates.breakers()}
	for _, p := range m.providers {
		g.providers = append(g.providers, p.breaker)
	}
	return g
}
