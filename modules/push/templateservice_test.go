package push

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newRenderer is a template service that answers with status and body, which counts what it is asked.
func newRenderer(t *testing.T, answer func() (status int, body string)) (r *rendered, asked *atomic.Int64, last *atomic.Value) {
	t.Helper()
	asked, last = new(atomic.Int64), new(atomic.Value)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		asked.Add(1)
		last.Store(req.Method + " " + req.URL.Path + " " + string(body))
		status, text := answer()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return newRendered(NewTemplateService(server.URL+"/", 2), 5, silent), asked, last
}

func TestAnswersOfTheTemplateServiceAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
		text   Text
		reason string // of a permanent failure
		away   bool
	}{
		"title and body":        {status: 200, body: `{"success":true,"data":{"title":"T","body":"B"}}`, text: Text{"T", "B"}},
		"subject and body_text": {status: 200, body: `{"data":{"subject":"S","body_text":"B"}}`, text: Text{"S", "B"}},
		"nothing to show":       {status: 200, body: `{"data":{}}`, reason: "template_failed"},
		"garbage":               {status: 200, body: "\x00", away: true},
		"unknown":               {status: 404, body: `{}`, reason: "unknown_template"},
		"a missing variable":    {status: 422, body: `{"message":"name is missing"}`, reason: "template_failed"},
		"no reason":             {status: 400, body: `{}`, reason: "template_failed"},
		"a proxy's page":        {status: 404, body: `<html>`, away: true},
		"a framework's page":    {status: 400, body: `<h1>Bad Request (400)</h1>`, away: true},
		"busy":                  {status: 429, away: true},
		"broken":                {status: 500, away: true},
		"locked":                {status: 401, away: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, last := newRenderer(t, func() (int, string) { return test.status, test.body })
			text, err := r.render(t.Context(), "welcome", "de", map[string]any{"name": "Ada", "n": json.Number("1.10")})
			require.JSONEq(t, `{"template_id":"welcome","language":"de","variables":{"name":"Ada","n":1.10}}`, strings.TrimPrefix(last.Load().(string), "POST "+renderPath))
			require.Equal(t, test.text, text)
			refused, isRefused := errors.AsType[*Rejected](err)
			require.Equal(t, test.reason != "", isRefused, "%v", err)
			if isRefused {
				require.Equal(t, test.reason, refused.Reason)
			}
			_, away := errors.AsType[*Away](err)
			require.Equal(t, test.away, away, "%v", err)
		})
	}
}

func TestTextIsAskedForOnceAMinute(t *testing.T) {
	t.Parallel()
	until := make(chan struct{})
	r, asked, _ := newRenderer(t, func() (int, string) {
		<-until
		return 200, `{"data":{"title":"T","body":"B"}}`
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := r.render(t.Context(), "welcome", "", map[string]any{"name": "Ada"})
			require.NoError(t, err)
		})
	}
	close(until)
	all.Wait()
	require.LessOrEqual(t, asked.Load(), int64(2), "the second only by who came between the first one's end and its note")
	before := asked.Load()
	for _, other := range []struct {
		code, language string
		variables      map[string]any
	}{{"welcome", "", map[string]any{"name": "Ada"}}, {"welcome", "de", map[string]any{"name": "Ada"}}, {"welcome", "", map[string]any{"name": "Eva"}}, {"bye", "", nil}} {
		_, err := r.render(t.Context(), other.code, other.language, other.variables)
		require.NoError(t, err)
	}
	require.Equal(t, before+3, asked.Load())
}

func TestTextsAreKeptForAMinuteAndNotWithoutLimit(t *testing.T) {
	t.Parallel()
	r := newRecentTexts()
	start := time.Now()
	key := func(n int) textKey { return textKey{byte(n), byte(n >> 8)} }
	r.put(key(0), Text{"T", "B"}, start)
	_, known := r.get(key(0), start.Add(recentFor-1))
	require.True(t, known)
	_, known = r.get(key(0), start.Add(recentFor))
	require.False(t, known)

	r.put(key(1), Text{"T", "B"}, start.Add(recentFor/2))
	r.put(key(2), Text{"T", "B"}, start.Add(recentFor))
	text, known := r.get(key(1), start.Add(recentFor+1))
	require.True(t, known, "it is not a minute old")
	require.Equal(t, Text{"T", "B"}, text)

	for n := range 3 * maxRecent {
		r.put(key(n), Text{}, start.Add(2*recentFor))
		require.LessOrEqual(t, len(r.now)+len(r.before), maxRecent)
	}
	r.put(textKey{1, 2, 3}, Text{Body: strings.Repeat("x", maxPayload+1)}, start)
	_, known = r.get(textKey{1, 2, 3}, start)
	require.False(t, known, "no provider takes it")
}

func TestTemplateServiceThatIsAwayIsLeftAlone(t *testing.T) {
	t.Parallel()
	r, asked, _ := newRenderer(t, func() (int, string) { return 503, "" })
	for n := range 3 * tripAfter {
		_, err := r.render(t.Context(), "welcome", "", map[string]any{"n": n})
		require.Error(t, err)
	}
	require.Equal(t, int64(tripAfter), asked.Load())
	_, err := r.render(t.Context(), "welcome", "", nil)
	require.ErrorIs(t, err, errNotTried)
	require.Empty(t, providerOf(err))
}
