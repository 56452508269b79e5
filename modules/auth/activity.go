package auth

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// activity is a line of the audit log as it is shown.
type activity struct {
	ID            int64           `db:"id" json:"id" doc:"Number of the line; later ones have higher numbers." example:"42"`
	At            time.Time       `db:"at" json:"at" doc:"When it happened."`
	Action        string          `db:"action" json:"action" doc:"What happened." example:"login"`
	Actor         string          `db:"actor" json:"actor" doc:"Who did it." example:"you"`
	Address       string          `db:"address" json:"address" doc:"IP address of the client." example:"203.0.113.7"`
	UserAgent     string          `db:"user_agent" json:"user_agent" doc:"What the client says of itself." example:"Mozilla/5.0"`
	CorrelationID string          `db:"correlation_id" json:"correlation_id" doc:"Id that ties together all that one request caused." example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	Detail        json.RawMessage `db:"detail" json:"detail" doc:"More about it."`
}

type ownActivity struct {
	Page web.Page `query:"page"`
}

// listOwnActivity shows what happened to one's own account. Who else acted is told by role only, and
// not from where.
func (m *Module) listOwnActivity(ctx context.Context, in ownActivity) (web.List[activity], error) {
	principal, _ := identity.From(ctx)
	list, err := m.activityOf(ctx, principal.UserID, in.Page)
	for i := range list.Items {
		switch line := &list.Items[i]; line.Actor {
		case principal.Actor():
			line.Actor = "you"
		case "anonymous":
		default:
			line.Actor, line.Address, line.UserAgent, line.CorrelationID = "staff", "", "", ""
		}
	}
	return list, err
}

type activityOfUser struct {
	ID   string   `path:"id"`
	Page web.Page `query:"page"`
}

func (m *Module) listActivity(ctx context.Context, in activityOfUser) (web.List[activity], error) {
	if _, err := m.store.byID(ctx, in.ID); err != nil {
		return web.List[activity]{}, orNoSuchUser(err)
	}
	return m.activityOf(ctx, in.ID, in.Page)
}

func (m *Module) activityOf(ctx context.Context, accountID string, page web.Page) (web.List[activity], error) {
	list := web.List[activity]{Page: page}
	if err := m.db.Get(ctx, &list.Total, `SELECT count(*) FROM auth.audit_log WHERE account_id = $1`, accountID); err != nil {
		return list, err
	}
	err := m.db.Select(ctx, &list.Items, `
		SELECT id, at, action, actor, address, user_agent, correlation_id, detail FROM auth.audit_log
		WHERE account_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3`, accountID, page.Limit, page.Offset())
	for i := range list.Items {
		list.Items[i].At = list.Items[i].At.UTC()
	}
	return list, err
}

func orNoSuchUser(err error) error {
	if errors.Is(err, postgres.ErrNoRows) {
		return identity.ErrNoSuchUser
	}
	return err
}
