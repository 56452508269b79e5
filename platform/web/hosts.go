package web

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
)

// Hosts are the names this service answers to. A name under which somebody else leads a browser here
// is not among them.
type Hosts struct {
	all     bool
	names   map[string]bool // also addresses
	domains []string        // `.example.com`: what ends so
}

// AcceptedHosts says what ParseHosts takes.
const AcceptedHosts = "*, or names and addresses without ports, like api.example.com,192.0.2.7,[::1]; .example.com with and *.example.com without the domain itself"

var hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// ParseHosts reads a list with commas.
func ParseHosts(list string) (Hosts, error) {
	h := Hosts{names: map[string]bool{}}
	for part := range strings.SplitSeq(list, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		domain, below := strings.CutPrefix(part, "*.")
		bare, with := strings.CutPrefix(part, ".")
		switch {
		case part == "":
		case part == "*":
			h.all = true
		case below && hostForm.MatchString(domain):
			h.domains = append(h.domains, "."+domain)
		case with && hostForm.MatchString(bare):
			h.domains = append(h.domains, part)
			h.names[bare] = true
		default:
			name, ok := canonicalHost(part)
			if !ok {
				return Hosts{}, errors.New(`has "` + part + `"`)
			}
			h.names[name] = true
		}
	}
	if !h.all && len(h.names)+len(h.domains) == 0 {
		return Hosts{}, errors.New("names no host")
	}
	return h, nil
}

// Allow judges a Host header.
func (h Hosts) Allow(header string) bool {
	if h.all {
		return true
	}
	name := withoutPort(strings.ToLower(header))
	if h.names[name] { // as nearly all are, and need not be looked at any closer
		return true
	}
	name, ok := canonicalHost(name)
	if !ok {
		return false
	}
	if h.names[name] {
		return true
	}
	for _, domain := range h.domains {
		if strings.HasSuffix(name, domain) {
			return true
		}
	}
	return false
}

// canonicalHost gives a name without the dot of the root, or an address as it is usually written.
func canonicalHost(text string) (string, bool) {
	inner, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		inner = strings.TrimSuffix(inner, "]")
	}
	if address, err := netip.ParseAddr(inner); err == nil {
		return address.Unmap().String(), true
	}
	name := strings.TrimSuffix(text, ".")
	return name, hostForm.MatchString(name)
}

func withoutPort(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.HasSuffix(host, "]") || strings.Trim(host[colon+1:], "0123456789") != "" {
		return host
	}
	return host[:colon]
}
