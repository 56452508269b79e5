package push

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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

func TestSilentWebhookIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := NewWebhookProvider(server.URL, 1).Send(t.Context(), Notification{})
	require.ErrorAs(t, err, new(*Away))
}
