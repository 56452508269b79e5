package preferences

import (
	"context"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/correlation"
	"user-service/platform/identity"
	"user-service/platform/web"
)

// patch is what a user wishes to be different.
type patch struct {
	Email *bool `json:"email" doc:"Whether notifications may come by e-mail." example:"true"`
	Push  *bool `json:"push" doc:"Whether notifications may come to the device." example:"true"`
}

// apply puts what is wished into k and names what that changed.
func (p patch) apply(k *kept) (changed []string) {
	if p.Email != nil && *p.Email != k.Email {
		k.Email = *p.Email
		changed = append(changed, "email")
	}
	if p.Push != nil && *p.Push != k.Push {
		k.Push = *p.Push
		changed = append(changed, "push")
	}
	return changed
}

// wish is a patch on its way, with the ids of its request.
type wish struct {
	patch
	ids correlation.IDs
}

// change shares its transaction with the changes of other users that are asked for at the same time: it
// touches three modules and the outbox, and a statement costs many hardly more than one. A request that
// is to take effect once has its own, in which its reply is kept.
func (m *Module) change(ctx context.Context, in patch) (commands.Preferences, error) {
	principal, _ := identity.From(ctx)
	mine := wish{in, correlation.From(ctx)}
	if !web.TakesEffectOnce(ctx) {
		now, err := m.changes.Do(ctx, principal.UserID, mine)
		return now.reply(err)
	}
	return web.InTx(ctx, m.db, func(ctx context.Context) (commands.Preferences, error) {
		now, err := m.changeAll(ctx, map[string]wish{principal.UserID: mine})
		return now[principal.UserID].reply(err)
	})
}

// reply refuses who is not, or no longer, a user.
func (r row) reply(err error) (commands.Preferences, error) {
	if err == nil && !r.IsActive {
		err = identity.ErrTokenInvalid
	}
	return r.view(), err
}

// changeAll fulfils the wishes of active users, and gives what all have then.
func (m *Module) changeAll(ctx context.Context, wishes map[string]wish) (now map[string]row, err error) {
	now = make(map[string]row, len(wishes))
	err = m.db.InTx(ctx, func(ctx context.Context) error {
		before, err := m.store.change(ctx, wishes)
		if err != nil {
			return err
		}
		var changed []row
		var told []events.PreferencesChanged
		for _, r := range before {
			if names := wishes[r.UserID].apply(&r.kept); r.IsActive && len(names) > 0 {
				r.Version++
				changed = append(changed, r)
				told = append(told, events.PreferencesChanged{UserID: r.UserID, Email: r.Email, Push: r.Push, Changed: names})
			}
			now[r.UserID] = r
		}
		if len(changed) == 0 {
			return nil
		}
		return m.tell(ctx, wishes, changed, told)
	})
	return now, err
}

// tell has everybody know what is different now.
func (m *Module) tell(ctx context.Context, wishes map[string]wish, changed []row, told []events.PreferencesChanged) error {
	for _, r := range changed {
		if err := m.cache.Changed(ctx, cacheKey(r.UserID), r.Version, r.kept); err != nil {
			return err
		}
	}
	return m.bus.Together(ctx, func(ctx context.Context) error {
		for _, event := range told {
			if err := m.bus.Publish(correlation.With(ctx, wishes[event.UserID].ids), event); err != nil {
				return err
			}
		}
		return nil
	})
}
