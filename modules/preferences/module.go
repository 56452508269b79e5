// Package preferences is the channels a user allows.
//
//	Owns:      schema preferences
//	Serves:    GET, PATCH /users/preferences/, GET /users/{id}/preferences/
//	Handles:   CreatePreferences, AddPreferences
//	Sends:     nothing
//	Publishes: PreferencesChanged
//	Follows:   UserDeactivated, UserReactivated
//
// It promises that a change is seen by the next message and the next request, on every instance.
package preferences

import (
	"context"
	"errors"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/batch"
	"user-service/platform/cache"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// Module is preferences, wired.
type Module struct {
	db    *postgres.DB
	bus   *messaging.Bus
	cache *cache.Cache
	store store

	changes *batch.Keyed[wish, row]
}

// New wires the module.
func New(db *postgres.DB, bus *messaging.Bus, cache *cache.Cache) *Module {
	m := &Module{db: db, bus: bus, cache: cache, store: store{db}}
	// Somebody waits for each: that is worth some commits more.
	m.changes = batch.NewKeyed("change preferences", batch.Manner{Few: batch.AtOnce}, m.changeAll)
	return m
}

// Subscribe adds the module's handlers to the bus.
func (m *Module) Subscribe() {
	messaging.Handle(m.bus, m.create)
	messaging.Handle(m.bus, m.addAll)
	messaging.Follow(m.bus, m.userDeactivated)
	messaging.Follow(m.bus, m.userReactivated)
}

// Routes adds the module's endpoints.
func (m *Module) Routes(r *web.Router) {
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/preferences/", Summary: "Show one's own preferences", Access: web.Bearer, Message: "These are your notification preferences."}, m.show)
	web.Handle(r, web.Endpoint{Method: "PATCH", Path: "/users/preferences/", Summary: "Change one's own preferences", Access: web.Bearer, Message: "Your notification preferences are up to date."}, m.change)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/{id}/preferences/", Summary: "Show a user's preferences", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Service, Message: "These are the user's notification preferences."}, m.showOf)
}

func (m *Module) create(ctx context.Context, c *commands.CreatePreferences) error {
	return m.store.add(ctx, c.UserID, c.Email, c.Push)
}

func (m *Module) addAll(ctx context.Context, c *commands.AddPreferences) error {
	return m.store.addAll(ctx, c.Users)
}

func cacheKey(userID string) string { return "preferences:" + userID }

func (m *Module) show(ctx context.Context, _ web.None) (commands.Preferences, error) {
	principal, _ := identity.From(ctx)
	kept, err := m.read(ctx, principal.UserID)
	if err == nil && !kept.IsActive {
		err = identity.ErrTokenInvalid
	}
	return kept.view(), ofNobody(err)
}

func (m *Module) read(ctx context.Context, userID string) (kept, error) {
	return cache.Read(ctx, m.cache, cacheKey(userID), func(ctx context.Context) (kept, int64, error) {
		r, err := m.store.byUser(ctx, userID)
		return r.kept, r.Version, err
	})
}

// ofNobody refuses a token that is signed by our key and names a user we do not have.
func ofNobody(err error) error {
	if errors.Is(err, postgres.ErrNoRows) {
		return identity.ErrTokenInvalid
	}
	return err
}

type userPath struct {
	ID string `path:"id"`
}

// ofUser is what sibling services are told; each channel has two names.
type ofUser struct {
	UserID string `json:"user_id" doc:"Id of the user." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	commands.Preferences
	EmailEnabled bool `json:"email_enabled" doc:"The same as email." example:"true"`
	PushEnabled  bool `json:"push_enabled" doc:"The same as push." example:"true"`
}

func (m *Module) showOf(ctx context.Context, in userPath) (ofUser, error) {
	kept, err := m.read(ctx, in.ID)
	if errors.Is(err, postgres.ErrNoRows) {
		err = identity.ErrNoSuchUser
	}
	return ofUser{in.ID, kept.view(), kept.Email, kept.Push}, err
}

// userDeactivated has this module refuse the account's tokens before the instance hears of the end
// of their sessions.
func (m *Module) userDeactivated(ctx context.Context, e *events.UserDeactivated) error {
	return m.setActive(ctx, e.UserID, false)
}

func (m *Module) userReactivated(ctx context.Context, e *events.UserReactivated) error {
	return m.setActive(ctx, e.UserID, true)
}

func (m *Module) setActive(ctx context.Context, userID string, active bool) error {
	r, err := m.store.setActive(ctx, userID, active)
	if err != nil {
		return err
	}
	return m.cache.Changed(ctx, cacheKey(userID), r.Version, r.kept)
}
