// Package apidocs shows the API's document to people: Swagger UI, where requests can be tried, and
// ReDoc, which reads better. Both are part of the program and ask no other host for anything.
//
// In assets are swagger-ui-dist 5.35.0 (Apache 2.0) and redoc 2.5.4 (MIT) as npm has them, packed; of
// the latter the address of a logo at another host was taken out.
package apidocs

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"mime"
	"path"
	"strings"
	"time"

	"user-service/platform/web"
)

//go:embed assets
var assets embed.FS

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
		parts         []string
	}{
		{"swagger", "The API to try out", []string{"swagger-ui.css.gz", "swagger-ui-bundle.js.gz", "swagger-start.js"}},
		{"redoc", "The API to read", []string{"redoc.standalone.js.gz", "redoc-start.js"}},
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
			for _, part := range page.parts {
				if err := addPart(r, base, page.name, part); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func addPart(r *web.Router, base, page, file string) error {
	content, err := assets.ReadFile("assets/" + file)
	if err != nil {
		return err
	}
	name, packed := strings.CutSuffix(file, ".gz")
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		return fmt.Errorf("of what type is %s?", name)
	}
	r.AddDocumentAt(base, web.Endpoint{Method: "GET", Path: "/" + page + "/" + name},
		web.Document{Type: kind, MaxAge: keptFor, Body: content, Gzipped: packed})
	return nil
}
