package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"time"
)

// Document is a body that goes out as it is, for readers who expect another form than the envelope.
type Document struct {
	Type    string // the Content-Type
	MaxAge  time.Duration
	Policy  string // Content-Security-Policy of a page; left out: nothing may be loaded
	Body    []byte
	Of      reflect.Type // of what Body is the JSON; nil: it is described elsewhere
	Gzipped bool         // Body is packed; it is unpacked for who does not take it so
}

// DocumentBases are in front of the path of a document: not Base, but nothing, and /api.
var DocumentBases = []string{"", "/api"}

// AddDocument serves d to everybody at e's path, behind each of DocumentBases.
func (r *Router) AddDocument(e Endpoint, d Document) {
	for _, base := range DocumentBases {
		r.AddDocumentAt(base, e, d)
	}
}

// AddDocumentAt serves d to everybody at e's path behind base.
func (r *Router) AddDocumentAt(base string, e Endpoint, d Document) {
	r.routes = append(r.routes, DocumentRoute(e, base, d))
	r.add(e, base, d.serve)
}

// DocumentRoute is the route of a document.
func DocumentRoute(e Endpoint, base string, d Document) Route {
	return Route{Endpoint: e, Base: base, In: reflect.TypeFor[None](), Document: &d}
}

func (d Document) serve(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("Content-Type", d.Type)
	header.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(d.MaxAge.Seconds())))
	header.Set("X-Content-Type-Options", "nosniff")
	if d.Policy != "" {
		header.Set("Content-Security-Policy", d.Policy)
	}
	body := d.Body
	if d.Gzipped {
		header.Add("Vary", "Accept-Encoding")
		if takesGzip.MatchString(req.Header.Get("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
		} else {
			body = unpacked(body)
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that left is not our fault
}

// takesGzip is not for "gzip;q=0".
var takesGzip = regexp.MustCompile(`(?i)(^|,)\s*gzip\s*(;\s*q=(0\.0*[1-9]\d*|1(\.0*)?)\s*)?(,|$)`)

// unpacked is for what was packed when the program was built, so nothing can be wrong with it.
func unpacked(packed []byte) []byte {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		panic(err)
	}
	return body
}
