package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"user-service/platform/openapi"
	"user-service/platform/web"
)

const apiDescription = `Accounts, sign-in and tokens, profiles and notification preferences of a distributed notification system.

Every path works with and without its trailing slash. Every reply has the envelope ` + "`{success, message, data}` or `{success, message, error}`" + `;
an unknown address gets 404 ` + "`not_found`, a known one with another method 405 `method_not_allowed` with `Allow`" + `.
Fields that are not known are ignored. Times are RFC 3339, in UTC.`

// addDocument serves what describes the routes of r, itself among them.
func addDocument(r *web.Router) error {
	e := web.Endpoint{Method: "GET", Path: "/openapi.json", Summary: "This document"}
	d := web.Document{Type: "application/json", MaxAge: 5 * time.Minute}
	routes := r.Routes()
	for _, base := range web.DocumentBases {
		routes = append(routes, web.DocumentRoute(e, base, d))
	}
	var err error
	if d.Body, err = openapi.Describe(routes, "User service", version, apiDescription); err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	r.AddDocument(e, d)
	return nil
}

type openapiCommand struct{}

// Run prints the document of all routes there can be. It needs no server and no setting.
func (openapiCommand) Run(ctx context.Context) error {
	c := config{DatabaseURL: "postgres://localhost/", RedisURL: "redis://localhost", TestNotifications: true}
	log := slog.New(slog.DiscardHandler)
	k, err := newCore(c, 1, log)
	if err != nil {
		return err
	}
	r, err := k.newRouter(web.Settings{Authority: k.auth.Authority(), Log: log}, nil, nil)
	if err != nil {
		return err
	}
	routes := r.Routes()
	var readable bytes.Buffer
	if err := json.Indent(&readable, routes[len(routes)-1].Document.Body, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, readable.String())
	return err
}
