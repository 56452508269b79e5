// Package web is the HTTP face: typed endpoints on gorilla/mux, one envelope for every reply, one
// place where a fault becomes a status. An endpoint is a function from its decoded body to its
// data; it never sees a request or a response.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"user-service/platform/fault"
	"user-service/platform/identity"
)

// answerWithin bounds a request: a server behind us that has gone silent is no reason to be silent too.
const answerWithin = 10 * time.Second

// Base is the prefix of every route of the API.
const Base = "/api/v1"

// Access says who may call an endpoint.
type Access int

// Who may call.
const (
	Open   Access = iota // anyone
	Bearer               // a signed-in user
)

// Endpoint is one row of the API's table. Paths are below Base and end with a slash; each works
// without it too.
type Endpoint struct {
	Method  string
	Path    string
	Also    string // a second path of the same endpoint
	Access  Access
	Status  int    // of success; 200 when left out
	Message string // of success
}

// Router serves endpoints. Add them before it serves.
type Router struct {
	mux    *mux.Router
	verify identity.Verify
	log    *slog.Logger
}

// NewRouter makes a router that lets verify check access tokens.
func NewRouter(verify identity.Verify, log *slog.Logger) *Router {
	r := &Router{mux: mux.NewRouter().SkipClean(true), verify: verify, log: log.With("logger", "web")}
	r.mux.NotFoundHandler = http.HandlerFunc(r.notFound)
	r.mux.MethodNotAllowedHandler = http.HandlerFunc(r.methodNotAllowed)
	return r
}

// ServeHTTP makes both slash forms one before it routes, so that neither needs a redirect.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if path := req.URL.Path; len(path) > 1 && strings.HasSuffix(path, "/") {
		bare := *req.URL
		bare.Path, bare.RawPath = strings.TrimSuffix(path, "/"), ""
		same := *req
		same.URL = &bare
		req = &same
	}
	r.mux.ServeHTTP(w, req)
}

// None is the body of an endpoint that takes none.
type None struct{}

// Handle adds an endpoint whose JSON body is an In and whose data is an Out.
func Handle[In, Out any](r *Router, e Endpoint, fn func(ctx context.Context, in In) (Out, error)) {
	handler := func(w http.ResponseWriter, req *http.Request) {
		out, err := call(r, e, req, fn)
		if err == nil {
			err = writeSuccess(w, max(e.Status, http.StatusOK), e.Message, out)
		}
		if err != nil {
			r.fail(w, req, err)
		}
	}
	r.add(e, Base, handler)
}

func call[In, Out any](r *Router, e Endpoint, req *http.Request, fn func(ctx context.Context, in In) (Out, error)) (out Out, err error) {
	ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
	defer cancel()
	if e.Access == Bearer {
		principal, err := r.authenticate(ctx, req)
		if err != nil {
			return out, err
		}
		ctx = identity.With(ctx, principal)
	}
	var in In
	if _, none := any(in).(None); !none {
		if err := decode(req, &in); err != nil {
			return out, err
		}
	}
	return fn(ctx, in)
}

// authenticate reads the Authorization header, RFC 6750 section 2.1.
func (r *Router) authenticate(ctx context.Context, req *http.Request) (identity.Principal, error) {
	scheme, token, found := strings.Cut(req.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !found || token == "" || !strings.EqualFold(scheme, "Bearer") {
		return identity.Principal{}, identity.ErrNotAuthenticated
	}
	principal, err := r.verify(ctx, token)
	if err == nil {
		note(ctx, principal)
	}
	return principal, err
}

func (r *Router) add(e Endpoint, base string, handler http.HandlerFunc) {
	methods := []string{e.Method}
	if e.Method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	for _, path := range []string{e.Path, e.Also} {
		if path != "" {
			template := base + strings.TrimSuffix(path, "/")
			r.mux.Path(template).Methods(methods...).HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				noteRoute(req.Context(), base+path)
				handler(w, req)
			})
		}
	}
}

// fail shows err and logs what is ours.
func (r *Router) fail(w http.ResponseWriter, req *http.Request, err error) {
	f := fault.From(err)
	if f.Kind == fault.Internal && errors.Is(err, context.DeadlineExceeded) {
		f = fault.Away(err) // whatever it waited for may be quicker next time
	}
	switch {
	case errors.Is(err, context.Canceled) && req.Context().Err() != nil:
		r.log.InfoContext(req.Context(), "the client left before the reply", "error", err)
	case f.Kind == fault.Internal || f.Kind == fault.Unavailable:
		r.log.ErrorContext(req.Context(), "request failed", "error", err)
	}
	writeFault(w, f, nil)
}

func (r *Router) notFound(w http.ResponseWriter, req *http.Request) {
	writeFault(w, fault.New(fault.NotFound, "not_found", "There is nothing at this address."), nil)
}

func (r *Router) methodNotAllowed(w http.ResponseWriter, req *http.Request) {
	allowed := r.allowed(req)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeFault(w, fault.New(fault.MethodNotAllowed, "method_not_allowed",
		"This address accepts "+strings.Join(allowed, ", ")+"."), nil)
}

func (r *Router) allowed(req *http.Request) []string {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := *req
		probe.Method = method
		var match mux.RouteMatch
		if r.mux.Match(&probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	slices.Sort(allowed)
	return allowed
}
