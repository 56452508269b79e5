package push

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWebhookAnswersAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		header     string
		body       string
		id         string
		dead       bool
		rejected   bool
		away       bool
		retryAfter time.Duration
	}{
		"accepted":            {status: 200, body: `{"id":"m-1"}`, id: "m-1"},
		"a number as id":      {status: 201, body: `{"id":17}`, id: "17"},
		"a long number as id": {status: 200, body: `{"id":12345678901234567890}`, id: "12345678901234567890"},
		"an id of no use":     {status: 200, body: `{"id":"a\u0000b"}`},
		"an object as id":     {status: 200, body: `{"id":{}}`},
		"no id":               {status: 204},
		"noise":               {status: 200, body: `<html>`},
		"gone":                {status: 410, dead: true},
		"bad request":         {status: 400, rejected: true},
		"unauthorized":        {status: 401, away: true},
		"not found":           {status: 404, away: true},
		"unprocessable":       {status: 422, rejected: true},
		"too many":            {status: 429, away: true, header: "7", retryAfter: 7 * time.Second},
		"too many, unlimited": {status: 429, away: true, header: "99999999999999999999"},
		"broken":              {status: 500, away: true},
		"unavailable":         {status: 503, away: true, header: "120", retryAfter: 2 * time.Minute},
		"moved":               {status: 302, away: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			id, err := NewWebhookProvider(server.URL, 1).Send(t.Context(), Notification{RequestID: "r"})
			require.Equal(t, test.id, id)
			_, dead := errors.AsType[*DeadToken](err)
			require.Equal(t, test.dead, dead)
			_, rejected := errors.AsType[*Rejected](err)
			require.Equal(t, test.rejected, rejected)
			away, isAway := errors.AsType[*Away](err)
			require.Equal(t, test.away, isAway, "%v", err)
			if isAway {
				require.Equal(t, test.retryAfter, away.RetryAfter)
				require.Equal(t, test.status == 429, away.Busy)
			}
		})
	}
}

func TestWebhookIsToldWhoAsksWhereItsAddressNamesAUser(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, password, _ := req.BasicAuth()
		known := name == "push" && password == "a secret" || req.Header.Get("Authorization") == "Bearer token"
		if !known || req.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	p := NewWebhookProvider(strings.Replace(server.URL, "//", "//push:a%20secret@", 1), 1)
	_, err := p.Send(t.Context(), Notification{})
	require.NoError(t, err)
	a, err := p.post(t.Context(), strings.Replace(p.url, "secret", "wrong", 1), http.Header{"Authorization": {"Bearer token"}}, nil)
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "who has a token uses that")
}

func TestWebhookThatTakesTooLongIsNotAskedAgainAtOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // or it would not notice that nobody waits any more
		<-req.Context().Done()
	}))
	defer server.Close()
	p := NewWebhookProvider(server.URL+"/hidden", 1)
	p.within = 50 * time.Millisecond
	_, err := p.Send(t.Context(), Notification{})
	away, is := errors.AsType[*Away](err)
	require.True(t, is, "%v", err)
	require.False(t, away.Soon)
	require.ErrorContains(t, err, "no answer within 50ms")
	require.NotContains(t, err.Error(), "hidden")
}

func TestSilentWebhookIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for path, soon := range map[string]bool{"/hidden": true, "/%zzhidden": false} {
		_, err := NewWebhookProvider(server.URL+path, 1).Send(t.Context(), Notification{})
		away, is := errors.AsType[*Away](err)
		require.True(t, is, "%v", err)
		require.Equal(t, soon, away.Soon)
		require.NotContains(t, err.Error(), "hidden")
	}
}
