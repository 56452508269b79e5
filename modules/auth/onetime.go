package auth

import (
	"context"
	"errors"
	"math"
	"time"

	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/postgres"
)

// purpose is what a one-time token is good for, and the template of the mail that carries it.
type purpose string

const (
	emailVerification purpose = commands.TemplateVerification
	passwordReset     purpose = commands.TemplateReset
)

// lifetimes of one-time tokens.
var lifetimes = map[purpose]time.Duration{emailVerification: 24 * time.Hour, passwordReset: time.Hour}

// Mails of one purpose to one account.
const (
	mailPause   = time.Minute
	mailsPerDay = 5
)

var errInvalidToken = fault.New(fault.Invalid, "invalid_token", "This link is not valid any more: it was used, has expired, or a newer one was sent.")

// sendToken makes a token, which voids the older one, and has it mailed, in the transaction of ctx.
// It does nothing when a mail was sent less than a minute ago, or five of them in a day.
func (m *Module) sendToken(ctx context.Context, to commands.User, of purpose) error {
	token, hash := newSecret()
	issued, err := m.store.issueToken(ctx, to.ID, of, hash, lifetimes[of])
	if err != nil || !issued {
		return err
	}
	return m.mailToken(ctx, to, of, token)
}

func (m *Module) mailToken(ctx context.Context, to commands.User, of purpose, token string) error {
	return m.bus.Send(ctx, commands.SendEmail{
		UserID: to.ID, Email: to.Email, Name: to.Name, TemplateCode: string(of),
		Token: token, Link: m.settings.link(of, token), ExpiresInMinutes: int(math.Round(lifetimes[of].Minutes())),
	})
}

// holder finds whose token it is, and leaves it unused.
func (m *Module) holder(ctx context.Context, token string, of purpose) (account, error) {
	hash, err := tokenHash(token)
	if err != nil {
		return account{}, err
	}
	a, err := m.store.byToken(ctx, hash, of)
	return a, orInvalidToken(err)
}

// useToken locks the account the token was sent to and uses the token up; `invalid_token` when it is
// none, or not any more.
func (m *Module) useToken(ctx context.Context, token string, of purpose) (account, error) {
	hash, err := tokenHash(token)
	if err != nil {
		return account{}, err
	}
	a, err := m.store.byToken(ctx, hash, of)
	if err != nil {
		return account{}, orInvalidToken(err)
	}
	if a, err = m.store.lock(ctx, a.ID); err != nil { // before the token's row, as everybody does
		return account{}, orInvalidToken(err)
	}
	used, err := m.store.useToken(ctx, hash, of)
	if err != nil {
		return account{}, err
	}
	if !used || !a.IsActive {
		return account{}, errInvalidToken
	}
	return a, nil
}

func tokenHash(token string) ([]byte, error) {
	secret, err := tokenText.DecodeString(token)
	if err != nil || len(secret) != secretBytes {
		return nil, errInvalidToken
	}
	return digest(secret), nil
}

func orInvalidToken(err error) error {
	if errors.Is(err, postgres.ErrNoRows) {
		return errInvalidToken
	}
	return err
}
