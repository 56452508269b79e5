package main

import (
	"fmt"
	"log/slog"
	"regexp"

	"user-service/modules/push"
)

// pushProviders are who takes notifications to devices, by PUSH_PROVIDER.
type pushProviders struct {
	Names      []string
	WebhookURL string
	FCM        push.ServiceAccount
	FCMURL     string // none: Google's
	APNs       push.APNsKey
	APNsTopic  string
	APNsURL    string // none: Apple's
}

var acceptedProviders = map[string][]string{
	"log": {"log"}, "webhook": {"webhook"}, "fcm": {"fcm"}, "apns": {"apns"}, "fcm,apns": {"fcm", "apns"},
}

func readProviders(e *environment) (p pushProviders) {
	p.Names = acceptedProviders[e.oneOf("PUSH_PROVIDER", "log", "log", "webhook", "fcm", "apns", "fcm,apns")]
	for _, name := range p.Names {
		switch name {
		case "webhook":
			p.WebhookURL = e.url("PUSH_WEBHOOK_URL", "", "http", "https")
		case "fcm":
			p.FCMURL = e.optionalURL("FCM_BASE_URL", "http", "https")
			if content, ok := e.file("FCM_CREDENTIALS", push.AcceptedServiceAccount); ok {
				p.FCM = understood(e, "FCM_CREDENTIALS", push.AcceptedServiceAccount, func() (push.ServiceAccount, error) {
					return push.ParseServiceAccount(content)
				})
			}
		case "apns":
			p.APNsURL = e.optionalURL("APNS_BASE_URL", "http", "https")
			p.APNsTopic = e.required("APNS_TOPIC", "the bundle id of the app")
			keyID, teamID := e.appleID("APNS_KEY_ID"), e.appleID("APNS_TEAM_ID")
			if content, ok := e.file("APNS_KEY_FILE", push.AcceptedAPNsKey); ok {
				p.APNs = understood(e, "APNS_KEY_FILE", push.AcceptedAPNsKey, func() (push.APNsKey, error) {
					return push.ParseAPNsKey(content, keyID, teamID)
				})
			}
		}
	}
	return p
}

var appleID = regexp.MustCompile(`^[A-Z0-9]{10}$`)

// appleID reads the id of a key or a team.
func (e *environment) appleID(name string) string {
	const accepted = "ten capital letters and digits, as Apple's developer pages show them"
	value := e.required(name, accepted)
	if value != "" && !appleID.MatchString(value) {
		e.fault(name, fmt.Sprintf("is %q", value), accepted)
	}
	return value
}

// understood reads the content of a file that a variable names.
func understood[T any](e *environment, name, accepted string, parse func() (T, error)) T {
	value, err := parse()
	if err != nil {
		e.fault(name, fmt.Sprintf("names %q, which %s", e.text(name, ""), err), "a file: "+accepted)
	}
	return value
}

// open makes the providers.
func (p pushProviders) open(concurrency int, log *slog.Logger) (all []push.Provider) {
	for _, name := range p.Names {
		switch name {
		case "webhook":
			all = append(all, push.NewWebhookProvider(p.WebhookURL, concurrency))
		case "fcm":
			all = append(all, push.NewFCM(p.FCM, p.FCMURL, concurrency))
		case "apns":
			all = append(all, push.NewAPNs(p.APNs, p.APNsTopic, p.APNsURL))
		}
	}
	if len(all) == 0 {
		all = []push.Provider{push.LogProvider{Log: log.With("logger", "push.log")}}
	}
	return all
}
