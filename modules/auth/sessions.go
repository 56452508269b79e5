package auth

import (
	"context"
	"time"

	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/web"
)

// maxSessions is how many sessions an account may have; one more ends the one that was used least lately.
const maxSessions = 100

// sessionView is a session as its owner sees it.
type sessionView struct {
	ID         string    `db:"id" json:"id" doc:"Id." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	Current    bool      `db:"-" json:"current" doc:"Whether it is the session that asks." example:"true"` // the one that asks
	Address    string    `db:"address" json:"address" doc:"IP address of the client." example:"203.0.113.7"`
	UserAgent  string    `db:"user_agent" json:"user_agent" doc:"What the client says of itself." example:"Mozilla/5.0"`
	CreatedAt  time.Time `db:"created_at" json:"created_at" doc:"When it was made."`
	LastUsedAt time.Time `db:"last_used_at" json:"last_used_at" doc:"When its refresh token was used last."`
	ExpiresAt  time.Time `db:"expires_at" json:"expires_at" doc:"When it ends unless it is refreshed."`
}

func (m *Module) listSessions(ctx context.Context, _ web.None) ([]sessionView, error) {
	principal, _ := identity.From(ctx)
	sessions, err := m.store.openSessions(ctx, principal.UserID)
	for i := range sessions {
		s := &sessions[i]
		s.Current = s.ID == principal.SessionID
		s.CreatedAt, s.LastUsedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.LastUsedAt.UTC(), s.ExpiresAt.UTC()
	}
	return sessions, err
}

func (m *Module) logout(ctx context.Context, _ web.None) (web.None, error) {
	principal, _ := identity.From(ctx)
	return web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		if err := m.record(ctx, entry{action: "logout", accountID: principal.UserID}); err != nil {
			return none, err
		}
		if principal.SessionID == "" { // a token of the original service: it can only be ended with its like
			return none, m.endTokensWithoutSession(ctx, principal.UserID)
		}
		_, err = m.endSessions(ctx, principal.UserID, []string{principal.SessionID}, "logout")
		return none, err
	})
}

var errNoSuchSession = fault.New(fault.NotFound, "not_found", "You have no such session; it may have ended already.")

type sessionPath struct {
	ID string `path:"id"`
}

func (m *Module) revokeSession(ctx context.Context, in sessionPath) (web.None, error) {
	principal, _ := identity.From(ctx)
	return web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		ended, err := m.endSessions(ctx, principal.UserID, []string{in.ID}, "revoked_by_user")
		if err != nil {
			return none, err
		}
		if len(ended) == 0 {
			return none, errNoSuchSession
		}
		return none, m.record(ctx, entry{action: "session_revoked", accountID: principal.UserID, detail: detail{"session_id": in.ID}})
	})
}

func (m *Module) revokeOtherSessions(ctx context.Context, _ web.None) (web.None, error) {
	principal, _ := identity.From(ctx)
	return web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		if err := m.endTokensWithoutSession(ctx, principal.UserID); err != nil {
			return none, err
		}
		others, err := m.store.revokeOtherSessions(ctx, principal.UserID, principal.SessionID)
		if err != nil {
			return none, err
		}
		if err := m.tellEnded(ctx, principal.UserID, others, "revoked_by_user"); err != nil {
			return none, err
		}
		return none, m.record(ctx, entry{action: "other_sessions_revoked", accountID: principal.UserID})
	})
}

// Rows are locked in this order: account, one-time tokens, sessions, and last what Publish locks. So
// whatever ends sessions does it before it publishes anything else.

// endSessions ends those of ids that are sessions of the account, and gives those that had not ended.
func (m *Module) endSessions(ctx context.Context, accountID string, ids []string, reason string) ([]string, error) {
	ended, err := m.store.revokeSessions(ctx, accountID, ids)
	if err != nil {
		return nil, err
	}
	return ended, m.tellEnded(ctx, accountID, ended, reason)
}

// tellEnded has every instance refuse the access tokens of sessions that were ended, and tells the world.
func (m *Module) tellEnded(ctx context.Context, accountID string, sessionIDs []string, reason string) error {
	if err := m.revocations.add(ctx, sessionIDs, m.settings.AccessLifetime); err != nil {
		return err
	}
	for _, id := range sessionIDs {
		if err := m.bus.Publish(ctx, events.SessionRevoked{UserID: accountID, SessionID: &id, Reason: reason}); err != nil {
			return err
		}
	}
	return nil
}

// endAllSessions ends everything an account is signed in with.
func (m *Module) endAllSessions(ctx context.Context, accountID, reason string) error {
	// It also keeps a token of the original service from opening a session meanwhile.
	if err := m.endTokensWithoutSession(ctx, accountID); err != nil {
		return err
	}
	ended, err := m.store.revokeOtherSessions(ctx, accountID, noSession)
	if err != nil {
		return err
	}
	if err := m.revocations.add(ctx, ended, m.settings.AccessLifetime); err != nil {
		return err
	}
	return m.bus.Publish(ctx, events.SessionRevoked{UserID: accountID, Reason: reason})
}

// endTokensWithoutSession ends the tokens that the original service issued to an account.
func (m *Module) endTokensWithoutSession(ctx context.Context, accountID string) error {
	return m.revocations.addAccounts(ctx, []string{accountID}, m.tokens.originalLifetime())
}
