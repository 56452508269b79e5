package main

import (
	"context"
	"errors"
	"net/http"

	"user-service/platform/apidocs"
	"user-service/platform/web"
)

// newRouter has all that is served, and the document that describes it.
func (k *core) newRouter(s web.Settings, overall, ready []web.Check) (*web.Router, error) {
	r := web.NewRouter(s)
	for _, module := range []interface{ Routes(*web.Router) }{k.auth, k.profile, k.preferences} {
		module.Routes(r)
	}
	k.push.Routes(r, k.config.TestNotifications)
	r.AddHealth("user-service", overall, ready)
	if err := apidocs.Add(r, "User service"); err != nil {
		return nil, err
	}
	return r, addDocument(r)
}

// guarded is the API for everybody.
func (a *app) guarded() http.Handler {
	return web.Guard(a.router, web.Guarding{
		Hosts: a.config.AllowedHosts, Origins: a.config.AllowedOrigins, TrustedProxies: a.config.TrustedProxies,
	})
}

// overall is what stands behind the service. Without the cache or the broker it goes on.
func (a *app) overall() []web.Check {
	return []web.Check{
		{Name: "database", Required: true, Probe: a.db.Spare().Ping},
		{Name: "cache", Probe: a.cache.Ping},
		{Name: "broker", Probe: a.publish.Up},
	}
}

// ready is what this process needs to do its part. Who serves the API too goes on without the
// broker: its consumers catch up.
func (a *app) ready() []web.Check {
	checks := []web.Check{
		{Name: "database", Required: true, Probe: a.db.Spare().Ping},
		{Name: "migrations", Required: true, Probe: func(ctx context.Context) error { return upToDate(ctx, a.migrator) }},
	}
	if a.roles.consumer && !a.roles.api {
		checks = append(checks, web.Check{Name: "consumer", Required: true, Probe: func(context.Context) error {
			if int(a.consuming.Load()) < len(a.topology.Consumed()) {
				return errors.New("not every queue is consumed")
			}
			return nil
		}})
	}
	return checks
}
