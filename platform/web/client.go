package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"user-service/platform/identity"
)

// forwardedHeader is where a proxy appends the address it was asked from.
const forwardedHeader = "X-Forwarded-For"

// maxUserAgent bounds what is kept of the header, in bytes.
const maxUserAgent = 200

func (r *Router) clientOf(req *http.Request) identity.Client {
	client := identity.Client{UserAgent: req.UserAgent()}
	if len(client.UserAgent) > maxUserAgent {
		client.UserAgent = client.UserAgent[:maxUserAgent]
	}
	client.UserAgent = strings.ToValidUTF8(client.UserAgent, "")
	if address, ok := parseHop(req.RemoteAddr); ok {
		client.Address = r.behind(address, req.Header[forwardedHeader]).String()
	}
	return client
}

// behind is who asks through the proxies we trust: the last address that one of them wrote. What
// stands before it anybody may have written.
func (r *Router) behind(peer netip.Addr, forwarded []string) netip.Addr {
	if len(forwarded) == 0 || !r.trusts(peer) {
		return peer
	}
	for hops := strings.Join(forwarded, ","); hops != "" && r.trusts(peer); {
		comma := strings.LastIndexByte(hops, ',')
		hop, ok := parseHop(strings.TrimSpace(hops[comma+1:]))
		if !ok {
			break
		}
		peer, hops = hop, hops[:max(comma, 0)]
	}
	return peer
}

func (r *Router) trusts(address netip.Addr) bool { return contains(r.trusted, address) }

func contains(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// parseHop reads an address, with a port as a rule.
func parseHop(text string) (netip.Addr, bool) {
	withPort, err := netip.ParseAddrPort(text)
	address := withPort.Addr()
	if err != nil {
		if address, err = netip.ParseAddr(text); err != nil {
			return netip.Addr{}, false
		}
	}
	return address.Unmap().WithZone(""), true
}
