package web

import (
	"net/http"
	"net/netip"

	"github.com/rs/cors"

	"user-service/platform/fault"
)

// Guarding says to whom the service shows its face.
type Guarding struct {
	Hosts          Hosts
	Origins        []string // of pages whose scripts may read replies; "*": of all
	TrustedProxies []netip.Prefix
}

// preflightFor is how long a browser may remember what it was allowed, in seconds.
const preflightFor = 600

var errHost = fault.New(fault.Invalid, "host_not_allowed", "This service does not answer to the name in the Host header.")

// The security headers of each reply. A page that is to be looked at sets its own policy afterwards.
// They are in the form of http.Header, so that they need not be made for each request.
var securityHeaders = http.Header{
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Resource-Policy": {"same-origin"}, // of what is asked for without CORS
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
}

var onlyTLS = []string{"max-age=31536000"}

// Guard stands in front of the router: headers for browsers, the names the service answers to, and
// pages of other origins. A preflight ends here, before anybody is asked who they are.
//
// There is no protection against forged requests of other sites: the service knows nobody by a
// cookie, and takes no body but JSON, which no form can send.
func Guard(next http.Handler, g Guarding) http.Handler {
	shared := cors.New(cors.Options{
		AllowedOrigins: g.Origins,
		AllowedMethods: []string{"GET", "HEAD", "POST", "PATCH", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type", "X-Request-ID", "X-Correlation-ID"},
		ExposedHeaders: []string{"X-Correlation-ID", "Retry-After", "Idempotency-Replayed", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"},
		MaxAge:         preflightFor,
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		header := w.Header()
		for name, value := range securityHeaders {
			header[name] = value[:1:1]
		}
		if g.overTLS(req) {
			header["Strict-Transport-Security"] = onlyTLS[:1:1]
		}
		if len(req.TransferEncoding) > 0 || !req.ProtoAtLeast(1, 1) {
			// net/http has dropped a Content-Length next to it, or of HTTP/1.0 the encoding itself. A proxy may
			// have found another end of this request: what follows must not be taken for the next one (RFC
			// 9112 section 6.1).
			header.Set("Connection", "close")
		}
		if !g.Hosts.Allow(req.Host) {
			refusal(errHost, nil).send(w)
			return
		}
		shared.ServeHTTP(w, req)
	})
}

// overTLS believes only a proxy of ours that the client came by TLS.
func (g Guarding) overTLS(req *http.Request) bool {
	if req.TLS != nil {
		return true
	}
	if req.Header.Get("X-Forwarded-Proto") != "https" {
		return false
	}
	peer, ok := parseHop(req.RemoteAddr)
	return ok && contains(g.TrustedProxies, peer)
}
