package auth

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/rules"
	"user-service/platform/web"
)

var errTooBusy = errors.New("more passwords wait to be checked than can be in time")

var errTaken = fault.Fields{"email": {"A user with this email already exists."}}.Err()

type registration struct {
	Name        string               `json:"name" doc:"What the user is called." maxLength:"255" example:"Ada Lovelace"`
	Email       string               `json:"email" doc:"Address of e-mail; its case does not matter." format:"email" example:"ada@example.com"`
	Password    string               `json:"password" doc:"8 to 128 characters; not common, not all digits, not close to name or e-mail." format:"password" example:"analytical engine"`
	PushToken   web.Nullable[string] `json:"push_token" doc:"Token of the user's device; null: none." example:"device-1"`
	Preferences *struct {
		Email *bool `json:"email" doc:"Whether notifications may come by e-mail." example:"true"`
		Push  *bool `json:"push" doc:"Whether notifications may come to the device." example:"true"`
	} `json:"preferences"`
}

func (in *registration) validate() error {
	fields := fault.Fields{}
	in.Name = rules.Name(fields, "name", in.Name)
	in.Email = rules.Email(fields, "email", in.Email)
	checkPassword(fields, "password", in.Password, in.Name, in.Email)
	if in.PushToken.Value != nil {
		rules.PushToken(fields, "push_token", *in.PushToken.Value)
	}
	return fields.Err()
}

// channels are the wishes of a registration: every channel that is not refused is allowed.
func (in *registration) channels() events.Preferences {
	allowed := events.Preferences{Email: true, Push: true}
	if p := in.Preferences; p != nil {
		if p.Email != nil {
			allowed.Email = *p.Email
		}
		if p.Push != nil {
			allowed.Push = *p.Push
		}
	}
	return allowed
}

// register makes an account in all modules, or in none.
func (m *Module) register(ctx context.Context, in registration) (signedIn, error) {
	if err := in.validate(); err != nil {
		return signedIn{}, err
	}
	hash, err := m.passwords.hash(ctx, in.Password)
	if err != nil {
		return signedIn{}, err
	}
	id := uuid.Must(uuid.NewV7()).String()
	allowed := in.channels()
	reply, err := web.InTx(ctx, m.db, func(ctx context.Context) (reply signedIn, err error) {
		prepared, session := m.prepareSession(id, "registered")
		verification, stored := newSecret()
		session.at, err = m.store.add(asUser(ctx, id), in.Email, hash, prepared, stored)
		if err == nil && session.at.IsZero() {
			err = errTaken
		}
		if err != nil {
			return reply, err
		}
		user, err := messaging.Ask[commands.User](ctx, m.bus, commands.CreateProfile{
			UserID: id, Name: in.Name, Email: in.Email, PushToken: in.PushToken.Value, Preferences: commands.Preferences(allowed),
		})
		if err != nil {
			return reply, err
		}
		if err := m.bus.Send(ctx, commands.CreatePreferences{UserID: id, Email: allowed.Email, Push: allowed.Push}); err != nil {
			return reply, err
		}
		if err := m.bus.Publish(ctx, events.UserRegistered{
			UserID: id, Email: in.Email, Name: in.Name, PushToken: in.PushToken.Value, Preferences: allowed,
		}); err != nil {
			return reply, err
		}
		if err := m.mailToken(ctx, user, emailVerification, verification); err != nil {
			return reply, err
		}
		tokens, err := m.tokensFor(id, session) // before the commit: what was committed must not fail
		return signedIn{User: user, tokenPair: tokens}, err
	})
	if err == nil {
		m.knowAddress(ctx, id)
	}
	return reply, err
}
