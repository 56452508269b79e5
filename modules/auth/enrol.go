package auth

import (
	"context"
	"encoding/json"
	"strconv"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/postgres"
)

// NewAccount is an account that comes complete, with flags and times of its own.
type NewAccount struct {
	commands.User
	Hash string `json:"hash"` // of the password, as this service or Django writes it
}

// Imported says by id what became of the accounts of an import.
type Imported struct {
	Added []string
	Known []string // were there before, and are left as they are
	Taken []string // their address belongs to another account
}

// Import makes accounts in all modules, each in all or in none. Of two with one address the first
// wins. announce has it tell the world of each as of a registration.
func (m *Module) Import(ctx context.Context, accounts []NewAccount, announce bool) (done Imported, err error) {
	err = m.db.InTx(ctx, func(ctx context.Context) error {
		added, refused, err := m.enrol(ctx, accounts, announce)
		if err != nil {
			return err
		}
		done = Imported{Added: added}
		if done.Known, err = m.store.known(ctx, refused); err != nil {
			return err
		}
		_, done.Taken = split(refused, done.Known)
		if len(added) == 0 {
			return nil
		}
		return m.record(ctx, entry{action: "accounts_imported", detail: detail{"count": strconv.Itoa(len(added))}})
	})
	return done, err
}

// enrol adds the accounts whose id and address are new, here and in the other modules.
func (m *Module) enrol(ctx context.Context, accounts []NewAccount, announce bool) (added, refused []string, err error) {
	if added, err = m.store.addAll(ctx, accounts); err != nil {
		return nil, nil, err
	}
	users := map[string]commands.User{}
	var ids []string
	for _, account := range accounts {
		users[account.ID], ids = account.User, append(ids, account.ID)
	}
	if added, refused = split(ids, added); len(added) == 0 {
		return nil, refused, nil
	}
	complete := make([]commands.User, 0, len(added))
	var inactive []string
	for _, id := range added {
		complete = append(complete, users[id])
		if !users[id].IsActive {
			inactive = append(inactive, id)
		}
	}
	if err := m.revocations.addAccounts(ctx, inactive, m.tokens.originalLifetime()); err != nil {
		return nil, nil, err
	}
	for _, command := range []any{
		commands.AddProfiles{Users: complete}, commands.AddPreferences{Users: complete}, commands.AddRecipients{Users: complete},
	} {
		if err := m.bus.Send(ctx, command); err != nil {
			return nil, nil, err
		}
	}
	if !announce {
		return added, refused, nil
	}
	return added, refused, m.announce(ctx, complete)
}

func (m *Module) announce(ctx context.Context, users []commands.User) error {
	for _, u := range users {
		if err := m.bus.Publish(ctx, events.UserRegistered{
			UserID: u.ID, Email: u.Email, Name: u.Name, PushToken: u.PushToken, Preferences: events.Preferences(u.Preferences),
		}); err != nil {
			return err
		}
	}
	return nil
}

// split keeps the order of ids.
func split(ids, among []string) (in, out []string) {
	wanted := make(map[string]bool, len(among))
	for _, id := range among {
		wanted[id] = true
	}
	for _, id := range ids {
		if wanted[id] {
			in = append(in, id)
		} else {
			out = append(out, id)
		}
	}
	return in, out
}

// addAll gives the ids of those it could add.
func (s store) addAll(ctx context.Context, accounts []NewAccount) (added []string, err error) {
	rows, err := json.Marshal(accounts)
	if err != nil {
		return nil, err
	}
	err = s.db.Select(ctx, &added, `
		INSERT INTO auth.accounts (id, email, password, is_active, email_verified, is_staff, created_at, updated_at)
		SELECT id, email, hash, is_active, email_verified, is_staff, created_at, updated_at
		FROM json_to_recordset($1) AS account (
			id uuid, email text, hash text, is_active boolean, email_verified boolean, is_staff boolean,
			created_at timestamptz, updated_at timestamptz)
		ON CONFLICT DO NOTHING RETURNING id`, rows)
	return added, err
}

// known gives those ids that accounts have.
func (s store) known(ctx context.Context, ids []string) (found []string, err error) {
	err = s.db.Select(ctx, &found, `SELECT id FROM auth.accounts WHERE id = ANY($1::uuid[])`, postgres.Array(ids))
	return found, err
}
