package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environment reads variables and gathers what is wrong with them. A library's message would name a
// Go field; ours names the variable, its fault and what is accepted, and never a secret's value.
type environment struct{ faults []string }

func (e *environment) fault(name, what, accepted string) {
	e.faults = append(e.faults, fmt.Sprintf("%s %s; accepted: %s", name, what, accepted))
}

// has treats an empty variable as one that is not set, as compose files leave them.
func (e *environment) has(name string) bool { return os.Getenv(name) != "" }

func (e *environment) text(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func (e *environment) required(name, accepted string) string {
	value := e.text(name, "")
	if value == "" {
		e.fault(name, "is missing", accepted)
	}
	return value
}

func (e *environment) flag(name string, fallback bool) bool {
	switch value := strings.ToLower(os.Getenv(name)); value {
	case "":
		return fallback
	case "true", "1", "yes", "on":
		return true
	case "false", "0", "no", "off":
		return false
	default:
		e.fault(name, fmt.Sprintf("is %q", value), "true or false")
		return fallback
	}
}

func (e *environment) number(name string, fallback, least, most int) int {
	value := os.Getenv(name)
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		e.fault(name, fmt.Sprintf("is %q", value), fmt.Sprintf("a whole number from %d to %d", least, most))
		return fallback
	}
	return n
}

// fraction of 0 to 1 is only judged; it is read elsewhere.
func (e *environment) fraction(name string) {
	if value := os.Getenv(name); value != "" {
		if share, err := strconv.ParseFloat(value, 64); err != nil || !(share >= 0 && share <= 1) {
			e.fault(name, fmt.Sprintf("is %q", value), "a number from 0 to 1")
		}
	}
}

const maxLifetime = 10 * 365 * 24 * 60 // minutes

func (e *environment) minutes(name string, fallback int) time.Duration {
	return time.Duration(e.number(name, fallback, 1, maxLifetime)) * time.Minute
}

func (e *environment) seconds(name string, fallback int) time.Duration {
	return time.Duration(e.number(name, fallback, 1, maxLifetime*60)) * time.Second
}

func (e *environment) oneOf(name, fallback string, accepted ...string) string {
	value := e.text(name, fallback)
	if !slices.Contains(accepted, value) {
		e.fault(name, fmt.Sprintf("is %q", value), strings.Join(accepted, ", "))
	}
	return value
}

// url never shows the value: it may hold a password.
func (e *environment) url(name, fallback string, schemes ...string) string {
	value := e.text(name, fallback)
	u, err := url.Parse(value)
	switch accepted := strings.Join(schemes, ":// or ") + ":// and a host"; {
	case value == "":
		e.fault(name, "is missing", accepted)
	case err != nil:
		e.fault(name, "cannot be parsed as a URL", accepted)
	case !slices.Contains(schemes, u.Scheme) || u.Host == "":
		e.fault(name, fmt.Sprintf("has the scheme %q and the host %q", u.Scheme, u.Host), accepted)
	}
	return value
}

// optionalURL is empty when the variable is not set.
func (e *environment) optionalURL(name string, schemes ...string) string {
	if !e.has(name) {
		return ""
	}
	return e.url(name, "", schemes...)
}

// file reads what a variable names; what it must be is said by accepted.
func (e *environment) file(name, accepted string) (content []byte, ok bool) {
	if !e.has(name) {
		e.fault(name, "is missing", "a file: "+accepted)
		return nil, false
	}
	path := e.text(name, "")
	content, err := os.ReadFile(path)
	if err != nil {
		e.fault(name, fmt.Sprintf("names %q, which cannot be read", path), "a file: "+accepted)
	}
	return content, err == nil
}

// networks reads CIDRs; a bare address stands for itself alone.
func (e *environment) networks(name string) (networks []netip.Prefix) {
	for part := range strings.SplitSeq(e.text(name, ""), ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		network, err := netip.ParsePrefix(part)
		if address, bare := netip.ParseAddr(part); bare == nil {
			address = address.Unmap()
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			e.fault(name, fmt.Sprintf("has %q", part), "networks and addresses, like 10.0.0.0/8,192.0.2.7,fd00::/8")
			return nil
		}
		networks = append(networks, network)
	}
	return networks
}

// origins are what a browser says of a page: scheme, host and port, and no more.
func (e *environment) origins(name, fallback string) (origins []string) {
	const accepted = "* or origins, like https://app.example.com,http://localhost:3000"
	for part := range strings.SplitSeq(e.text(name, fallback), ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		u, err := url.Parse(part)
		if part != "*" && (err != nil || u.Host == "" || strings.Contains(u.Host, "*") || (u.Scheme != "http" && u.Scheme != "https") || !strings.EqualFold(part, u.Scheme+"://"+u.Host)) {
			e.fault(name, fmt.Sprintf("has %q", part), accepted)
			return nil
		}
		origins = append(origins, part)
	}
	if len(origins) == 0 { // no list is all origins to the library
		e.fault(name, "names no origin", accepted)
	}
	return origins
}

func (e *environment) logLevel(name, fallback string) slog.Level {
	value := e.text(name, fallback)
	var level slog.Level
	if strings.EqualFold(value, "WARNING") { // as Python says it
		value = "WARN"
	}
	if err := level.UnmarshalText([]byte(value)); err != nil {
		e.fault(name, fmt.Sprintf("is %q", value), "DEBUG, INFO, WARN, ERROR")
	}
	return level
}

// maxSteps bounds the steps: each is a queue of the broker.
const maxSteps = 16

// steps reads delays that rise: 10s,1m,10m,1h.
func (e *environment) steps(name, fallback string) []time.Duration {
	value := e.text(name, fallback)
	var steps []time.Duration
	for part := range strings.SplitSeq(value, ",") {
		step, err := time.ParseDuration(strings.TrimSpace(part))
		if err != nil || step < time.Millisecond || step > 24*time.Hour || (len(steps) > 0 && step <= steps[len(steps)-1]) || len(steps) == maxSteps {
			e.fault(name, fmt.Sprintf("is %q", value), "up to 16 rising delays from 1ms to 24h, like 10s,1m,10m,1h")
			return []time.Duration{time.Second}
		}
		steps = append(steps, step.Truncate(time.Millisecond))
	}
	return steps
}
