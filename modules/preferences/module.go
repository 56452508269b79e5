// Package preferences is the channels a user allows.
//
//	Owns:      schema preferences
//	Serves:    GET, PATCH /users/preferences/
//	Handles:   CreatePreferences
//	Sends:     nothing
//	Publishes: PreferencesChanged
//	Follows:   UserDeactivated
//
// It promises that a change is seen by the next message and the next request, on every instance.
package preferences

import (
	"context"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/cache"
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
}

// New wires the module.
func New(db *postgres.DB, bus *messaging.Bus, cache *cache.Cache) *Module {
	return &Module{db: db, bus: bus, cache: cache, store: store{db}}
}

// Subscribe adds the module's handlers to the bus.
func (m *Module) Subscribe() {
	messaging.Handle(m.bus, m.create)
	messaging.Follow(m.bus, m.userDeactivated)
}

// Routes adds the module's endpoints.
func (m *Module) Routes(r *web.Router) {
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/preferences/", Access: web.Bearer, Message: "These are your notification preferences."}, m.show)
	web.Handle(r, web.Endpoint{Method: "PATCH", Path: "/users/preferences/", Access: web.Bearer, Message: "Your notification preferences are up to date."}, m.change)
}

func (m *Module) create(ctx context.Context, c *commands.CreatePreferences) error {
	return m.store.add(ctx, c.UserID, c.Email, c.Push)
}

func cacheKey(userID string) string { return "preferences:" + userID }

func (m *Module) show(ctx context.Context, _ web.None) (commands.Preferences, error) {
	principal, _ := identity.From(ctx)
	kept, err := cache.Read(ctx, m.cache, cacheKey(principal.UserID), func(ctx context.Context) (kept, int64, error) {
		r, err := m.store.byUser(ctx, principal.UserID)
		return r.kept, r.Version, err
	})
	if err == nil && !kept.IsActive {
		err = identity.ErrTokenInvalid
	}
	return kept.view(), err
}

// userDeactivated has this module refuse the account's tokens before the instance hears of the end
// of their sessions.
func (m *Module) userDeactivated(ctx context.Context, e *events.UserDeactivated) error {
	r, err := m.store.deactivate(ctx, e.UserID)
	if err != nil {
		return err
	}
	return m.cache.Changed(ctx, cacheKey(e.UserID), r.Version, r.kept)
}

// patch is what a user wishes to be different.
type patch struct {
	Email *bool `json:"email"`
	Push  *bool `json:"push"`
}

// apply puts the wishes into p and names what they changed.
func (w patch) apply(p *kept) (changed []string) {
	if w.Email != nil && *w.Email != p.Email {
		p.Email, changed = *w.Email, append(changed, "email")
	}
	if w.Push != nil && *w.Push != p.Push {
		p.Push, changed = *w.Push, append(changed, "push")
	}
	return changed
}

func (m *Module) change(ctx context.Context, in patch) (commands.Preferences, error) {
	principal, _ := identity.From(ctx)
	var now row
	err := m.db.InTx(ctx, func(ctx context.Context) (err error) {
		if now, err = m.store.lock(ctx, principal.UserID); err != nil {
			return err
		}
		if !now.IsActive {
			return identity.ErrTokenInvalid
		}
		changed := in.apply(&now.kept)
		if len(changed) == 0 {
			return nil
		}
		if now, err = m.store.update(ctx, principal.UserID, now.kept); err != nil {
			return err
		}
		if err := m.bus.Publish(ctx, events.PreferencesChanged{
			UserID: principal.UserID, Email: now.Email, Push: now.Push, Changed: changed,
		}); err != nil {
			return err
		}
		return m.cache.Changed(ctx, cacheKey(principal.UserID), now.Version, now.kept)
	})
	return now.view(), err
}
