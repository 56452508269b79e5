package apidocs

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

var loaded = regexp.MustCompile(`(?:src|href|data-document)="([^"]+)"`)

func TestPagesLoadOnlyWhatIsServedHere(t *testing.T) {
	t.Parallel()
	r := web.NewRouter(web.Settings{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, Add(r, "A <title>"))
	r.AddDocument(web.Endpoint{Method: "GET", Path: "/openapi.json"}, web.Document{Type: "application/json", Body: []byte("{}")})
	ask := func(path, encoding string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", path, nil)
		req.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	for _, base := range web.DocumentBases {
		for _, page := range []string{"/swagger/", "/swagger", "/redoc/", "/redoc"} {
			w := ask(base+page, "")
			require.Equal(t, 200, w.Code, page)
			require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "script-src 'self';")
			html := w.Body.String()
			require.Contains(t, html, "A &lt;title&gt;")
			require.NotRegexp(t, `<script>|https?://`, html)
			for _, match := range loaded.FindAllStringSubmatch(html, -1) {
				if match[1] == "data:," {
					continue
				}
				require.True(t, strings.HasPrefix(match[1], base+"/"), match[1])
				part := ask(match[1], "gzip;q=0, br")
				require.Empty(t, part.Header().Get("Content-Encoding"), "not what is not taken")
				require.Equal(t, 200, part.Code, match[1])
				packed := ask(match[1], "gzip, br")
				content := packed.Body.String()
				if packed.Header().Get("Content-Encoding") == "gzip" {
					reader, err := gzip.NewReader(packed.Body)
					require.NoError(t, err)
					unpacked, err := io.ReadAll(reader)
					require.NoError(t, err)
					content = string(unpacked)
				}
				require.Equal(t, part.Body.String(), content, match[1])
				require.NotContains(t, content, "cdn.redoc.ly")
			}
		}
	}
	require.Equal(t, 404, ask("/swagger/nothing.js", "").Code)
}
