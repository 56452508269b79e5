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
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"user-service/platform/fault"
	"user-service/platform/idempotency"
	"user-service/platform/identity"
	"user-service/platform/ratelimit"
)

// answerWithin bounds the work on a request: a server behind us that has gone silent is no reason to be
// silent too.
const answerWithin = 10 * time.Second

const idSegment = "id"

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
// without it too. `{id}` in a path stands for a UUID, another name in braces for a text without slashes.
type Endpoint struct {
	Method  string
	Path    string
	Also    string // a second path of the same endpoint
	Access  Access
	Status  int    // of success; 200 when left out
	Message string // of success

	Summary string         // what it is for, in the API's document
	Faults  []*fault.Fault // that it answers beyond those that follow from the rest, see Route.Refusals

	EndsSession bool // who repeats it, with its X-Request-ID, may see its reply although the token has ended with it

	PerAddress ratelimit.Limit // for each client address, judged before the body is read; none when left out
}

// Router serves endpoints. Add them before it serves.
type Router struct {
	mux       *mux.Router
	authority identity.Authority
	limiter   *ratelimit.Limiter
	replies   *idempotency.Store
	trusted   []netip.Prefix
	log       *slog.Logger
	routes    []Route
}

// Route is an endpoint at its place, with the types of what it takes and gives.
type Route struct {
	Endpoint
	Base     string // in front of its path
	In, Out  reflect.Type
	Document *Document // what it gives instead of an envelope
	Reports  bool      // it gives its Out when it fails too
}

// TakesBody reports whether clients send JSON.
func (r Route) TakesBody() bool { return takesBody(r.In) }

// Routes are the endpoints that were added so far.
func (r *Router) Routes() []Route { return r.routes }

// Settings are what a router stands on.
type Settings struct {
	Authority      identity.Authority // judges who is asking
	Limiter        *ratelimit.Limiter // nil: everybody may ask as often as they like
	Replies        *idempotency.Store // nil: X-Request-ID means nothing
	TrustedProxies []netip.Prefix     // whose word on the client's address is believed
	Log            *slog.Logger
}

// NewRouter makes a router without endpoints.
func NewRouter(s Settings) *Router {
	r := &Router{
		mux: mux.NewRouter().SkipClean(true), authority: s.Authority, limiter: s.Limiter, replies: s.Replies, trusted: s.TrustedProxies,
		log: s.Log.With("logger", "web"),
	}
	r.mux.NotFoundHandler = http.HandlerFunc(r.notFound)
	r.mux.MethodNotAllowedHandler = http.HandlerFunc(r.methodNotAllowed)
	return r
}

// bare is a request whose path has no slash at its end, and what was found for it.
type bare struct {
	http.Request
	url   url.URL
	match mux.RouteMatch
}

// ServeHTTP makes both slash forms one before it routes, so that neither needs a redirect. mux itself would
// copy the request twice to tell the handler of its route and of variables that most paths have none of.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b := &bare{Request: *req, url: *req.URL}
	if path := req.URL.Path; len(path) > 1 && strings.HasSuffix(path, "/") {
		b.url.Path, b.url.RawPath = strings.TrimSuffix(path, "/"), ""
	}
	b.URL = &b.url
	r.mux.Match(&b.Request, &b.match) // where there is no route, it finds the handler for that
	req = &b.Request
	if len(b.match.Vars) > 0 {
		req = mux.SetURLVars(req, b.match.Vars)
	}
	b.match.Handler.ServeHTTP(w, req)
}

// None is what an endpoint takes that takes nothing.
type None struct{}

// Handle adds an endpoint that takes an In and whose data is an Out. A field of In is read from the
// JSON body by its tag `json`, from the path by `path`, from the query by `query`.
func Handle[In, Out any](r *Router, e Endpoint, fn func(ctx context.Context, in In) (Out, error)) {
	route := Route{Endpoint: e, Base: Base, In: reflect.TypeFor[In](), Out: dataType[Out]()}
	r.routes = append(r.routes, route)
	o := &operation{endpoint: e, takesBody: route.TakesBody(), execute: func(ctx context.Context, req *http.Request, body []byte) (any, error) {
		var in In
		if err := decode(req, body, &in); err != nil {
			return nil, err
		}
		return fn(ctx, in)
	}}
	r.add(e, Base, func(w http.ResponseWriter, req *http.Request) { r.answer(w, req, o) })
}

// operation is what an endpoint does with a request.
type operation struct {
	endpoint  Endpoint
	takesBody bool
	execute   func(ctx context.Context, req *http.Request, body []byte) (data any, err error)
}

func (r *Router) answer(w http.ResponseWriter, req *http.Request, o *operation) {
	ctx := ratelimit.Watch(req.Context())
	reply, err := r.judge(ctx, req, o)
	showLimit(w.Header(), ctx)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	reply.send(w)
}

// judge lets the request in, or not, and has it executed.
func (r *Router) judge(ctx context.Context, req *http.Request, o *operation) (reply, error) {
	id, err := r.requestID(req)
	if err != nil {
		return reply{}, err
	}
	ctx = identity.WithClient(ctx, r.clientOf(req))
	working, cancel := within(ctx, answerWithin)
	defer cancel()
	principal, err := r.admit(working, o.endpoint, req)
	if err != nil {
		if id != "" && o.endpoint.EndsSession && principal != (identity.Principal{}) {
			return r.replayOfEnded(working, req, o, id, principal, err)
		}
		return reply{}, err
	}
	var body []byte
	if o.takesBody {
		if body, err = read(req); err != nil {
			return reply{}, err
		}
		working, cancel = within(ctx, answerWithin) // the time that the client took is not ours
		defer cancel()
	}
	if principal != (identity.Principal{}) {
		working = identity.With(working, principal)
	}
	if id != "" {
		return r.once(working, req, requestOf(req, id, principal, body), o)
	}
	data, err := o.execute(working, req, body)
	if err != nil {
		return reply{}, err
	}
	return success(o.endpoint.Status, o.endpoint.Message, data)
}

// placeholders say what stands in a path. An id of ours is a UUID; one that others gave may have slashes.
var placeholders = strings.NewReplacer("{id}", "{id:[0-9a-fA-F-]{36}}", "{request_id}", "{request_id:.+}")

func (r *Router) add(e Endpoint, base string, handler http.HandlerFunc) {
	methods := []string{e.Method}
	if e.Method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	for _, path := range []string{e.Path, e.Also} {
		if path != "" {
			template := placeholders.Replace(base + strings.TrimSuffix(path, "/"))
			r.mux.Path(template).Methods(methods...).HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				noteRoute(req.Context(), base+path)
				handler(w, req)
			})
		}
	}
}

// Nowhere has nothing at a path that would otherwise be found to take other methods.
func (r *Router) Nowhere(method, path string) {
	r.mux.Path(Base + strings.TrimSuffix(path, "/")).Methods(method).HandlerFunc(r.notFound)
}

var errClientLeft = fault.New(fault.ClientLeft, "client_left", "You hung up before the reply.")

// fail shows err and logs what is ours.
func (r *Router) fail(w http.ResponseWriter, req *http.Request, err error) {
	f := fault.From(err)
	if f.Kind == fault.Internal && errors.Is(err, context.DeadlineExceeded) {
		f = fault.Away(err) // whatever it waited for may be quicker next time
	}
	switch {
	case errors.Is(err, context.Canceled) && req.Context().Err() != nil:
		f = errClientLeft // and nobody is there to read it
	case f.Kind == fault.Internal || f.Kind == fault.Unavailable:
		r.log.ErrorContext(req.Context(), "request failed", "error", err)
	}
	refusal(f, nil).send(w)
}

func (r *Router) notFound(w http.ResponseWriter, req *http.Request) {
	refusal(ErrNoSuchAddress, nil).send(w)
}

func (r *Router) methodNotAllowed(w http.ResponseWriter, req *http.Request) {
	allowed := r.allowed(req)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refusal(fault.New(fault.MethodNotAllowed, "method_not_allowed",
		"This address accepts "+strings.Join(allowed, ", ")+"."), nil).send(w)
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
