package web_test

import (
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

func TestDocumentGoesOutAsItIsWithAndWithoutAPI(t *testing.T) {
	t.Parallel()
	r := web.NewRouter(web.Settings{Log: slog.New(slog.DiscardHandler)})
	r.AddDocument(web.Endpoint{Method: "GET", Path: "/.well-known/jwks.json"},
		web.Document{Type: "application/json", MaxAge: 5 * time.Minute, Body: []byte(`{"keys":[]}`)})
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/jwks.json/", "/api/.well-known/jwks.json", "/api/.well-known/jwks.json/"} {
		w := ask("GET", path)
		require.Equal(t, 200, w.Code, path)
		require.JSONEq(t, `{"keys":[]}`, w.Body.String(), "no envelope")
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "public, max-age=300", w.Header().Get("Cache-Control"))
		require.Equal(t, 200, ask("HEAD", path).Code)

		w = ask("POST", path)
		require.Equal(t, 405, w.Code, path)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	require.Equal(t, 404, ask("GET", "/api/v1/.well-known/jwks.json").Code)
}
