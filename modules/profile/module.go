// Package profile is the user as others see it: name and device token of its own, and a read model
// of what auth and preferences tell.
//
//	Owns:      schema profile
//	Serves:    GET, PATCH, DELETE /users/profile/ (also /users/me/),
//	           GET /users/, GET /users/{id}/, GET /users/{id}/contact/, GET /users/{id}/push-token/
//	Handles:   CreateProfile, AddProfiles, DescribeUser, ForgetPushToken, SetStaff
//	Sends:     DeactivateAccount
//	Publishes: ProfileUpdated, PushTokenChanged
//	Follows:   UserDeactivated, UserReactivated, EmailVerified, PreferencesChanged
//
// It promises that what a client wrote is what it reads next, on every instance, and that a device
// token is only with the user who registered it last.
package profile

import (
	"user-service/messaging"
	"user-service/platform/cache"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// Module is profile, wired.
type Module struct {
	db    *postgres.DB
	bus   *messaging.Bus
	cache *cache.Cache
	store store
}

// New wires the module.
func New(db *postgres.DB, bus *messaging.Bus, cache *cache.Cache) *Module {
	return &Module{db: db, bus: bus, cache: cache, store: store{db}}
}

// Subscribe adds the module's handlers to the bus.
func (m *Module) Subscribe() {
	messaging.Answer(m.bus, m.create)
	messaging.Handle(m.bus, m.addAll)
	messaging.Answer(m.bus, m.describe)
	messaging.Answer(m.bus, m.forgetPushToken)
	messaging.Handle(m.bus, m.setStaff)
	messaging.Follow(m.bus, m.userDeactivated)
	messaging.Follow(m.bus, m.userReactivated)
	messaging.Follow(m.bus, m.emailVerified)
	messaging.FollowAll(m.bus, m.preferencesChanged)
}

// Routes adds the module's endpoints.
func (m *Module) Routes(r *web.Router) {
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/profile/", Summary: "Show one's own profile", Also: "/users/me/", Access: web.Bearer, Message: "This is your profile."}, m.show)
	web.Handle(r, web.Endpoint{Method: "PATCH", Path: "/users/profile/", Summary: "Change one's own profile", Also: "/users/me/", Access: web.Bearer, Message: "Your profile is up to date."}, m.change)
	web.Handle(r, web.Endpoint{Method: "DELETE", Path: "/users/profile/", Summary: "Leave", Also: "/users/me/", Access: web.Bearer, EndsSession: true, Message: "Your account has been deactivated."}, m.leave)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/", Summary: "List and find users", Access: web.Staff, Message: "These are the users."}, m.list)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/{id}/", Summary: "Show a user", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Service, Message: "This is the user."}, m.showUser)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/{id}/contact/", Summary: "Show how to reach a user", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Service, Message: "This is how to reach the user."}, m.showContact)
	web.Handle(r, web.Endpoint{Method: "GET", Path: "/users/{id}/push-token/", Summary: "Show a user's device token", Faults: []*fault.Fault{identity.ErrNoSuchUser}, Access: web.Service, Message: "This is the user's device token."}, m.showPushToken)
}
