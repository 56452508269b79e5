package web

import (
	"net/http"
	"reflect"
	"strconv"
	"time"
)

// Document is a body that goes out as it is, for readers who expect another form than the envelope.
type Document struct {
	Type   string // the Content-Type
	MaxAge time.Duration
	Body   []byte
}

// AddDocument serves d to everybody at e's path, not below Base but as it is, and below /api.
func (r *Router) AddDocument(e Endpoint, d Document) {
	for _, base := range []string{"", "/api"} {
		r.routes = append(r.routes, DocumentRoute(e, base, d))
		r.add(e, base, d.serve)
	}
}

// DocumentRoute is the route of a document.
func DocumentRoute(e Endpoint, base string, d Document) Route {
	return Route{Endpoint: e, Base: base, In: reflect.TypeFor[None](), Document: &d}
}

func (d Document) serve(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", d.Type)
	header.Set("Content-Length", strconv.Itoa(len(d.Body)))
	header.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(d.MaxAge.Seconds())))
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(d.Body) // a client that left is not our fault
}
