package profile

import (
	"bytes"
	"context"
	"errors"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/cache"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/rules"
	"user-service/platform/web"
)

func (m *Module) show(ctx context.Context, _ web.None) (web.Encoded[commands.User], error) {
	principal, _ := identity.From(ctx)
	u, err := cache.ReadJSON(ctx, m.cache, cacheKey(principal.UserID), m.load(principal.UserID))
	if err == nil && bytes.Contains(u, inactive) { // known here before this instance hears that the session has ended
		err = identity.ErrTokenInvalid
	}
	return u, ofNobody(err)
}

// inactive is in the JSON of a user whose account is not open, and of no other: quotes within a value
// are escaped.
var inactive = []byte(`"is_active":false`)

func (m *Module) read(ctx context.Context, id string) (commands.User, error) {
	return cache.Read(ctx, m.cache, cacheKey(id), m.load(id))
}

func (m *Module) load(id string) func(context.Context) (commands.User, int64, error) {
	return func(ctx context.Context) (commands.User, int64, error) {
		u, err := m.store.byID(ctx, id)
		return u.view(), u.Version, err
	}
}

// ofNobody refuses a token that is signed by our key and names a user we do not have.
func ofNobody(err error) error {
	if errors.Is(err, postgres.ErrNoRows) {
		return identity.ErrTokenInvalid
	}
	return err
}

func cacheKey(id string) string { return "user:" + id }

// changed keeps the cache true to a row that this transaction wrote.
func (m *Module) changed(ctx context.Context, u user) error {
	return m.cache.Changed(ctx, cacheKey(u.ID), u.Version, u.view())
}

// patch is what a user may change.
type patch struct {
	Name      *string              `json:"name" doc:"What the user is called." maxLength:"255" example:"Ada Lovelace"`
	PushToken web.Nullable[string] `json:"push_token" doc:"Token of the user's device; null: none." example:"device-1"`
}

func (p *patch) validate() error {
	fields := fault.Fields{}
	if p.Name != nil {
		*p.Name = rules.Name(fields, "name", *p.Name)
	}
	if p.PushToken.Value != nil {
		rules.PushToken(fields, "push_token", *p.PushToken.Value)
	}
	return fields.Err()
}

// apply says what differs from u and puts it there.
func (p *patch) apply(u *user) (renamed, retokened bool) {
	if p.Name != nil && *p.Name != u.Name {
		u.Name, renamed = *p.Name, true
	}
	if p.PushToken.Present && !same(p.PushToken.Value, u.PushToken) {
		u.PushToken, retokened = p.PushToken.Value, true
	}
	return renamed, retokened
}

func same(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func (m *Module) change(ctx context.Context, in patch) (commands.User, error) {
	principal, _ := identity.From(ctx)
	if err := in.validate(); err != nil {
		return commands.User{}, err
	}
	for { // each round more means that somebody else's change was committed
		u, err := web.InTx(ctx, m.db, func(ctx context.Context) (commands.User, error) {
			return m.changeOf(ctx, principal.UserID, in)
		})
		if !errors.Is(err, errMoved) {
			return u, err
		}
	}
}

func (m *Module) changeOf(ctx context.Context, userID string, in patch) (commands.User, error) {
	u, others, err := m.lock(ctx, userID, in.PushToken.Value)
	if err != nil {
		return commands.User{}, ofNobody(err)
	}
	if !u.IsActive {
		return commands.User{}, identity.ErrTokenInvalid
	}
	if err := m.takeFrom(ctx, others); err != nil {
		return commands.User{}, err
	}
	if renamed, retokened := in.apply(&u); renamed || retokened {
		u, err = m.update(ctx, u, renamed, retokened)
	}
	return u.view(), err
}

// update writes a user down and tells everybody.
func (m *Module) update(ctx context.Context, u user, renamed, retokened bool) (user, error) {
	u, err := m.store.update(ctx, u.ID, u.Name, u.PushToken)
	if err != nil {
		return u, err
	}
	if renamed {
		if err := m.bus.Publish(ctx, events.ProfileUpdated{UserID: u.ID, Name: u.Name, Changed: []string{"name"}}); err != nil {
			return u, err
		}
	}
	if retokened {
		if err := m.bus.Publish(ctx, events.PushTokenChanged{UserID: u.ID, PushToken: u.PushToken, Reason: "user"}); err != nil {
			return u, err
		}
	}
	return u, m.changed(ctx, u)
}

func (m *Module) leave(ctx context.Context, _ web.None) (web.None, error) {
	principal, _ := identity.From(ctx)
	if _, err := m.show(ctx, web.None{}); err != nil {
		return web.None{}, err
	}
	return web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		return none, m.bus.Send(ctx, commands.DeactivateAccount{UserID: principal.UserID, By: principal.UserID})
	})
}
