// Package apidocs shows the API's document to people: Swagger UI, where requests can be tried, and
// ReDoc, which reads better. Both are part of the program and ask no other host for anything.
//
// In assets are swagger-ui-dist 5.35.0 (Apache 2.0) and redoc 2.5.4 (MIT) as npm has them, packed; of
// the latter the address of a logo at another host was taken out.
package apidocs

import (
	"bytes"
	"embed"
	"html/template"
	"mime"
	"path"
	"time"

	"user-service/platform/web"
)

//go:embed assets/*.html assets/*LICENSE* assets/*NOTICE
var assets embed.FS

// The large ones as they lie in the program: read from assets, each would be copied into memory.
var (
	//go:embed assets/swagger-ui.css.gz
	swaggerStyles []byte
	//go:embed assets/swagger-ui-bundle.js.gz
	swaggerCode []byte
	//go:embed assets/redoc.standalone.js.gz
	redocCode []byte
	//go:embed assets/swagger-start.js
	swaggerStart []byte
	//go:embed assets/redoc-start.js
	redocStart []byte
)

// part is what a page loads.
type part struct {
	name string
	body []byte
	gzip bool
}

// keptFor is how long a browser may keep a part of a page.
const keptFor = time.Hour

// policy lets the pages load what is ours and nothing else. Both libraries write styles into the page;
// ReDoc searches in a worker that it makes itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Add serves the pages at /swagger/ and /redoc/, with and without /api in front. They show the
// document that is at /openapi.json beside them.
func Add(r *web.Router, title string) error {
	for _, page := range []struct {
		name, summary string
		parts         []part
	}{
		{"swagger", "The API to try out", []part{{"swagger-ui.css", swaggerStyles, true}, {"swagger-ui-bundle.js", swaggerCode, true}, {"swagger-start.js", swaggerStart, false}}},
		{"redoc", "The API to read", []part{{"redoc.standalone.js", redocCode, true}, {"redoc-start.js", redocStart, false}}},
	} {
		html, err := template.ParseFS(assets, "assets/"+page.name+".html")
		if err != nil {
			return err
		}
		for _, base := range web.DocumentBases {
			var body bytes.Buffer
			if err := html.Execute(&body, struct{ Title, Base string }{title, base}); err != nil {
				return err
			}
			e := web.Endpoint{Method: "GET", Path: "/" + page.name + "/", Summary: page.summary}
			r.AddDocumentAt(base, e, web.Document{Type: "text/html; charset=utf-8", Policy: policy, Body: body.Bytes()})
			for _, p := range page.parts {
				r.AddDocumentAt(base, web.Endpoint{Method: "GET", Path: "/" + page.name + "/" + p.name},
					web.Document{Type: mime.TypeByExtension(path.Ext(p.name)), MaxAge: keptFor, Body: p.body, Gzipped: p.gzip})
			}
		}
	}
	return nil
}
