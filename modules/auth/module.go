// Package auth says who somebody is: accounts, passwords, sessions and tokens.
//
//	Owns:      schema auth
//	Serves:    POST /users/ (also /auth/register/), POST /auth/login/, POST /auth/refresh/
//	Handles:   DeactivateAccount
//	Sends:     CreateProfile, CreatePreferences, DescribeUser
//	Publishes: UserRegistered, UserLoggedIn, UserDeactivated, SessionRevoked
//	Follows:   nothing
//
// It promises that an access token of an ended session is refused at once by the instance that
// ended it and within a second by every other; that a refresh token is changed for one successor,
// and its use after a grace of 10 s ends the session; and that login tells nobody whether an
// account exists.
package auth

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// Settings are what an operator decides.
type Settings struct {
	SecretKey       []byte        // signs access tokens, HS256
	AccessLifetime  time.Duration // of an access token
	RefreshLifetime time.Duration // of a session that is not refreshed
}

// Module is auth, wired.
type Module struct {
	db          *postgres.DB
	bus         *messaging.Bus
	store       store
	passwords   *passwords
	tokens      accessTokens
	revocations *revocations
	serviceKeys *serviceKeys
	settings    Settings
	log         *slog.Logger
}

// New wires the module. Run keeps it up to date.
func New(db *postgres.DB, bus *messaging.Bus, settings Settings, log *slog.Logger) *Module {
	return &Module{
		db: db, bus: bus, store: store{db}, passwords: newPasswords(), settings: settings,
		tokens:      accessTokens{settings.SecretKey, settings.AccessLifetime},
		revocations: newRevocations(db), serviceKeys: newServiceKeys(db), log: log.With("logger", "auth"),
	}
}

// Subscribe adds the module's handlers to the bus.
func (m *Module) Subscribe() {
	messaging.Handle(m.bus, m.deactivate)
}

// Run learns of revocations by other instances and removes what has expired, until ctx ends.
func (m *Module) Run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return m.revocations.run(ctx, m.log) })
	parts.Go(func() error { return m.serviceKeys.run(ctx) })
	return parts.Wait()
}

// Routes adds the module's endpoints.
func (m *Module) Routes(r *web.Router) {
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/users/", Also: "/auth/register/", Status: 201, Message: "Welcome! Your account has been created."}, m.register)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/login/", Message: "You are signed in."}, m.login)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/refresh/", Message: "Here are your new tokens."}, m.refresh)
}
