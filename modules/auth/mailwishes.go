package auth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/correlation"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/rules"
	"user-service/platform/web"
)

// A wish for a mail is only noted, whoever asks for whatever address: neither the reply nor its time
// can tell whether there is an account. It is looked into afterwards.

// grantWithin bounds the work on one wish.
const grantWithin = 10 * time.Second

// wishesEvery is how often wishes of other instances, which may have died, are looked for.
const wishesEvery = time.Second

type addressed struct {
	Email string `json:"email" doc:"Address of e-mail; its case does not matter." format:"email" example:"ada@example.com"`
}

func (m *Module) wish(ctx context.Context, in addressed, of purpose) (web.None, error) {
	fields := fault.Fields{}
	email := rules.Email(fields, "email", in.Email)
	if err := fields.Err(); err != nil {
		return web.None{}, err
	}
	client, ids := identity.ClientFrom(ctx), correlation.From(ctx)
	none, err := web.InTx(ctx, m.db, func(ctx context.Context) (none web.None, err error) {
		_, err = m.db.Exec(ctx, `
			INSERT INTO auth.mail_wishes (email, purpose, address, user_agent, correlation_id, traceparent) VALUES ($1, $2, $3, $4, $5, $6)`,
			email, of, client.Address, client.UserAgent, ids.Correlation, ids.Traceparent)
		return none, err
	})
	if err == nil {
		m.wishes.ring()
	}
	return none, err
}

// bell wakes one sleeper; ringing it twice wakes once.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default: // it has not looked since the last ring
	}
}

// runWishes looks into wishes until ctx ends.
func (m *Module) runWishes(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(wishesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wishes:
		case <-tick.C:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = m.grantNext(ctx); err != nil {
				if ctx.Err() == nil && fault.From(err).Kind != fault.Unavailable { // away is told elsewhere
					log.ErrorContext(ctx, "a mail could not be made", "error", err)
				}
				break
			}
		}
	}
}

type mailWish struct {
	ID          int64   `db:"id"`
	Email       string  `db:"email"`
	Purpose     purpose `db:"purpose"`
	Address     string  `db:"address"`
	UserAgent   string  `db:"user_agent"`
	Correlation string  `db:"correlation_id"`
	Traceparent string  `db:"traceparent"`
}

// grantNext takes one wish; more is false when there was none. What fails for another reason than a
// server that is away is dropped: it would fail again, and keep others waiting.
func (m *Module) grantNext(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, grantWithin)
	defer cancel()
	var w mailWish
	err = m.db.InTx(ctx, func(ctx context.Context) error {
		if err := m.takeWish(ctx, &w); err != nil {
			return err
		}
		ctx = identity.WithClient(ctx, identity.Client{Address: w.Address, UserAgent: w.UserAgent})
		return m.grant(correlation.With(ctx, correlation.IDs{Correlation: w.Correlation, Traceparent: w.Traceparent}), w)
	})
	switch {
	case errors.Is(err, postgres.ErrNoRows) && w.ID == 0:
		return false, nil
	case err != nil && w.ID != 0 && fault.From(err).Kind != fault.Unavailable:
		_, dropErr := m.db.Exec(ctx, `DELETE FROM auth.mail_wishes WHERE id = $1`, w.ID)
		return false, errors.Join(err, dropErr)
	}
	return err == nil, err
}

func (m *Module) takeWish(ctx context.Context, w *mailWish) error {
	return m.db.Get(ctx, w, `
		DELETE FROM auth.mail_wishes
		WHERE id = (SELECT id FROM auth.mail_wishes ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
		RETURNING id, email, purpose, address, user_agent, correlation_id, traceparent`)
}

// grant sends the mail if there is an active account that it is of use to.
func (m *Module) grant(ctx context.Context, w mailWish) error {
	found, err := m.store.byEmail(ctx, w.Email)
	if errors.Is(err, postgres.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := m.store.lock(ctx, found.ID)
	if err != nil || !a.IsActive || (w.Purpose == emailVerification && a.EmailVerified) {
		return err
	}
	if err := m.record(ctx, entry{action: string(w.Purpose) + "_requested", accountID: a.ID}); err != nil {
		return err
	}
	user, err := messaging.Ask[commands.User](ctx, m.bus, commands.DescribeUser{UserID: a.ID})
	if err != nil {
		return err
	}
	return m.sendToken(ctx, user, w.Purpose)
}
