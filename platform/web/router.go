// Package web is the HTTP face: typed endpoints on gorilla/mux, one envelope for every reply, one
// place where a fault becomes a status. An endpoint is a function from its decoded body to its
// data; it never sees a request or a response.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/ratelimit"
)

// answerWithin bounds a request: a server behind us that has gone silent is no reason to be silent too.
const answerWithin = 10 * time.Second

// Base is the prefix of every route of the API.
const Base = "/api/v1"

// Access says who may call an endpoint.
type Access int

// Who may call.
const (
	Open    Access = iota // anyone
	Bearer                // a signed-in user
	Service               // a sibling service by its key, or a staff user
	Staff                 // a staff user
)

// Endpoint is one row of the API's table. Paths are below Base and end with a slash; each works
// without it too. `{id}` in a path stands for a UUID.
type Endpoint struct {
	Method  string
	Path    string
	Also    string // a second path of the same endpoint
	Access  Access
	Status  int    // of success; 200 when left out
	Message string // of success

	PerAddress ratelimit.Limit // for each client address, judged before the body is read; none when left out
}

// Router serves endpoints. Add them before it serves.
type Router struct {
	mux       *mux.Router
	authority identity.Authority
	limiter   *ratelimit.Limiter
	trusted   []netip.Prefix
	log       *slog.Logger
	routes    []Route
}

// Route is an endpoint with the types of what it takes and gives.
type Route struct {
	Endpoint
	In, Out reflect.Type
}

// TakesBody reports whether clients send JSON.
func (r Route) TakesBody() bool { return takesBody(r.In) }

// Routes are the endpoints that were added so far.
func (r *Router) Routes() []Route { return r.routes }

// Settings are what a router stands on.
type Settings struct {
	Authority      identity.Authority // judges who is asking
	Limiter        *ratelimit.Limiter // nil: everybody may ask as often as they like
	TrustedProxies []netip.Prefix     // whose word on the client's address is believed
	Log            *slog.Logger
}

// NewRouter makes a router without endpoints.
func NewRouter(s Settings) *Router {
	r := &Router{
		mux: mux.NewRouter().SkipClean(true), authority: s.Authority, limiter: s.Limiter, trusted: s.TrustedProxies,
		log: s.Log.With("logger", "web"),
	}
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

// None is what an endpoint takes that takes nothing.
type None struct{}

// Handle adds an endpoint that takes an In and whose data is an Out. A field of In is read from the
// JSON body by its tag `json`, from the path by `path`, from the query by `query`.
func Handle[In, Out any](r *Router, e Endpoint, fn func(ctx context.Context, in In) (Out, error)) {
	handler := func(w http.ResponseWriter, req *http.Request) {
		tally := ratelimit.Watch(req.Context())
		out, err := call(tally, r, e, req, fn)
		showLimit(w.Header(), tally)
		if err == nil {
			err = writeSuccess(w, max(e.Status, http.StatusOK), e.Message, out)
		}
		if err != nil {
			r.fail(w, req, err)
		}
	}
	r.routes = append(r.routes, Route{e, reflect.TypeFor[In](), reflect.TypeFor[Out]()})
	r.add(e, Base, handler)
}

func call[In, Out any](ctx context.Context, r *Router, e Endpoint, req *http.Request, fn func(ctx context.Context, in In) (Out, error)) (out Out, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	ctx, err = r.admit(ctx, e, req)
	if err != nil {
		return out, err
	}
	var in In
	if err := decode(req, &in); err != nil {
		return out, err
	}
	return fn(ctx, in)
}

func (r *Router) add(e Endpoint, base string, handler http.HandlerFunc) {
	methods := []string{e.Method}
	if e.Method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	for _, path := range []string{e.Path, e.Also} {
		if path != "" {
			template := strings.ReplaceAll(base+strings.TrimSuffix(path, "/"), "{id}", "{id:[0-9a-fA-F-]{36}}")
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
