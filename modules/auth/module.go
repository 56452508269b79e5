// Package auth says who somebody is: accounts, passwords, sessions and tokens.
//
//	Owns:      schema auth
//	Serves:    POST /users/ (also /auth/register/),
//	           POST /auth/login/, POST /auth/refresh/, POST /auth/logout/,
//	           GET, DELETE /auth/sessions/, DELETE /auth/sessions/{id}/,
//	           POST /auth/verify-email/, POST /auth/verify-email/resend/,
//	           POST /auth/password-reset/, POST /auth/password-reset/confirm/, POST /auth/password-change/,
//	           GET /auth/activity/, GET /users/{id}/activity/, PATCH /users/{id}/,
//	           GET /.well-known/jwks.json
//	Handles:   DeactivateAccount
//	Sends:     CreateProfile, CreatePreferences, DescribeUser, AddProfiles, AddPreferences, AddRecipients,
//	           SendEmail, SetStaff
//	Publishes: UserRegistered, UserLoggedIn, UserDeactivated, UserReactivated,
//	           EmailVerified, PasswordChanged, SessionRevoked
//	Follows:   nothing
//
// It promises that an access token of an ended session is refused at once by the instance that
// ended it and within a second by every other; that a refresh token is changed for one successor,
// and its use after a grace of 10 s ends the session; that a mailed token works once, and a newer one
// voids it; that nothing but a registration tells whether an account exists; and that guessing a
// password is slow, and keeps no owner out who comes from a known address or resets it.
package auth

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/ratelimit"
	"user-service/platform/retention"
	"user-service/platform/web"
)

// Settings are what an operator decides.
type Settings struct {
	SecretKey       []byte        // signs access tokens, HS256, unless there are SigningKeys
	SigningKeys     []SigningKey  // newest first: the first one signs, the others only verify
	HashCost        Cost          // of new password hashes; none: DefaultCost
	HashCommand     []string      // of a process that runs ServeHashes; none: hashes are made in this one
	AccessLifetime  time.Duration // of an access token
	RefreshLifetime time.Duration // of a session that is not refreshed
	PublicURL       string        // of the client's pages, the base of links in mails
}

// Module is auth, wired.
type Module struct {
	db          *postgres.DB
	bus         *messaging.Bus
	limiter     *ratelimit.Limiter
	store       store
	passwords   *passwords
	decoys      *decoys
	tokens      tokens
	revocations *revocations
	serviceKeys *serviceKeys
	wishes      bell
	settings    Settings
	log         *slog.Logger
}

// New wires the module. Run keeps it up to date.
func New(db *postgres.DB, bus *messaging.Bus, limiter *ratelimit.Limiter, settings Settings, log *slog.Logger) *Module {
	log = log.With("logger", "auth")
	if settings.HashCost == (Cost{}) {
		settings.HashCost = DefaultCost
	}
	tokens := newTokens(settings)
	return &Module{
		db: db, bus: bus, limiter: limiter, store: store{db}, passwords: newPasswords(settings.HashCost, settings.HashCommand, log), settings: settings,
		decoys:      &decoys{db: db, secret: settings.SecretKey, cost: settings.HashCost},
		tokens:      tokens,
		revocations: newRevocations(db, tokens.clock), serviceKeys: newServiceKeys(db), wishes: make(bell, 1), log: log,
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
	parts.Go(func() error { return m.runWishes(ctx, m.log) })
	parts.Go(func() error { return retention.Run(ctx, m.db, m.log, retainEvery, m.retained()...) })
	parts.Go(func() error { return m.decoys.run(ctx, m.log) })
	parts.Go(func() error { return m.passwords.run(ctx) })
	return parts.Wait()
}

// Routes adds the module's endpoints.
func (m *Module) Routes(r *web.Router) {
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/users/", Summary: "Register", PerAddress: perAddress.register, Also: "/auth/register/", Status: 201, Message: "Welcome! Your account has been created."}, m.register)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/login/", Summary: "Sign in", Faults: []*fault.Fault{errCredentials}, PerAddress: perAddress.login, Message: "You are signed in."}, m.login)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/refresh/", Summary: "Get new tokens for a refresh token", Faults: []*fault.Fault{identity.ErrTokenInvalid, identity.ErrTokenExpired}, PerAddress: perAddress.refresh, Message: "Here are your new tokens."}, m.refresh)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/logout/", Summary: "Sign out", Access: web.Bearer, EndsSession: true, Message: "You are signed out."}, m.logout)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/auth/sessions/", Summary: "List where one is signed in", Access: web.Bearer, Message: "This is where you are signed in."}, m.listSessions)
	web.Handle(r, web.Endpoint{Method: "DELETE", Path: "/auth/sessions/", Summary: "Sign out everywhere else", Access: web.Bearer, Message: "You are signed out everywhere else."}, m.revokeOtherSessions)
	web.Handle(r, web.Endpoint{Method: "DELETE", Path: "/auth/sessions/{id}/", Summary: "End one session", Faults: []*fault.Fault{errNoSuchSession}, Access: web.Bearer, EndsSession: true, Message: "The session has ended."}, m.revokeSession)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/verify-email/", Summary: "Verify an address of e-mail", Faults: []*fault.Fault{errInvalidToken}, PerAddress: perAddress.token, Message: "Your email address is verified."}, m.verifyEmail)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/verify-email/resend/", Summary: "Ask for another mail to verify an address", PerAddress: perAddress.mail, Message: "If this address has an account that waits for verification, a mail is on its way."}, m.resendVerification)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/password-reset/", Summary: "Ask for a mail to reset the password", PerAddress: perAddress.mail, Message: "If this address has an account, a mail is on its way."}, m.requestReset)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/password-reset/confirm/", Summary: "Reset the password", Faults: []*fault.Fault{errInvalidToken}, PerAddress: perAddress.token, Message: "Your password has been reset. Please sign in."}, m.confirmReset)
	web.Handle(r, web.Endpoint{Method: "POST", Path: "/auth/password-change/", Summary: "Change the password", PerAddress: perAddress.change, Access: web.Bearer, EndsSession: true, Message: "Your password has been changed. These are your new tokens."}, m.changeOwnPassword)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/auth/activity/", Summary: "List what happened to one's own account", Access: web.Bearer, Message: "This is what happened to your account."}, m.listOwnActivity)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/{id}/activity/", Summary: "List what happened to an account", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Staff, Message: "This is what happened to the account."}, m.listActivity)
	web.Handle(r, web.Endpoint{Method: "PATCH", Path: "/users/{id}/", Summary: "Change what a user may do", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Staff, Message: "The account is up to date."}, m.changeAccount)
	r.AddDocument(web.Endpoint{Method: "GET", Path: "/.well-known/jwks.json", Summary: "Keys that verify access tokens"},
		web.Document{Type: "application/json", MaxAge: 5 * time.Minute, Body: m.settings.keySet(), Of: reflect.TypeFor[keySet]()})
}
