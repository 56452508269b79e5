package auth

import (
	"context"
	"encoding/json"

	"user-service/platform/correlation"
	"user-service/platform/identity"
)

// entry is one line of the audit log: an action, and the account it was done to.
type entry struct {
	action    string
	accountID string // empty: of no known account
	detail    detail
}

// detail says more about an action. Nothing secret may be in it.
type detail map[string]string

// record writes a line, in the transaction of ctx if there is one. Who did it and from where it finds
// in ctx: the principal of the request; a request that proves nobody is anonymous, and what is no
// request is the operator at the command line.
func (m *Module) record(ctx context.Context, e entry) error {
	var account *string
	if e.accountID != "" {
		account = &e.accountID
	}
	client := identity.ClientFrom(ctx)
	_, err := m.db.Exec(ctx, `
		INSERT INTO auth.audit_log (action, account_id, actor, address, user_agent, correlation_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.action, account, actorOf(ctx), client.Address, client.UserAgent, correlation.From(ctx).Correlation, e.detail.json())
	return err
}

func actorOf(ctx context.Context) string {
	principal, known := identity.From(ctx)
	if !known && identity.ClientFrom(ctx) == (identity.Client{}) {
		return "operator"
	}
	return principal.Actor()
}

func (d detail) json() string {
	if d == nil {
		return "{}"
	}
	encoded, _ := json.Marshal(d) // of strings, which cannot fail
	return string(encoded)
}

// asUser is the context of somebody who has just proved who it is.
func asUser(ctx context.Context, userID string) context.Context {
	return identity.With(ctx, identity.Principal{UserID: userID})
}
