package web_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"user-service/platform/web"
)

// decodes gives the faults of the fields of content, sent to an endpoint that takes an In.
func decodes[In any](t *testing.T, content string) (status int, errors map[string][]string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	r := web.NewRouter(web.Settings{Log: log})
	web.Handle(r, web.Endpoint{Method: "PATCH", Path: "/it/", Message: "Done."},
		func(context.Context, In) (web.None, error) { return web.None{}, nil })
	f := &face{Handler: web.Observe(r, log, prometheus.NewRegistry())}
	req := httptest.NewRequest("PATCH", "/api/v1/it/", strings.NewReader(content))
	req.Header.Set("Content-Type", "application/json")
	resp, e := f.send(t, req)
	return resp.StatusCode, e.Errors
}

type variety struct {
	Variables *map[string]any `json:"variables"`
	Tags      *[]string       `json:"tags"`
	Priority  *int64          `json:"priority"`
	Share     *float64        `json:"share"`
}

func TestEveryKindOfFieldSaysWhatItMustBe(t *testing.T) {
	t.Parallel()
	status, errors := decodes[variety](t, `{"variables":[],"tags":{},"priority":"1","share":"a"}`)
	require.Equal(t, 400, status)
	require.Equal(t, map[string][]string{
		"variables": {"Must be an object."}, "tags": {"Must be a list."}, "priority": {"Must be a whole number."}, "share": {"Is of the wrong type."},
	}, errors)
	status, _ = decodes[variety](t, `{"variables":{"a":[1,{"b":null}]},"tags":["x"],"priority":9007199254740993,"share":0.5}`)
	require.Equal(t, 200, status)
}

// PostgreSQL would refuse it, with an error that would look like ours.
func TestNullCharacterIsRefusedAtAnyDepth(t *testing.T) {
	t.Parallel()
	for _, content := range []string{
		`{"variables":{"a":"x\u0000y"}}`, `{"variables":{"a\u0000":1}}`, `{"variables":{"a":[{"b":"\\\u0000"}]}}`, `{"tags":["ok","\u0000"]}`,
	} {
		status, errors := decodes[variety](t, content)
		require.Equal(t, 400, status, content)
		for _, messages := range errors {
			require.Equal(t, []string{"Null characters are not allowed."}, messages, content)
		}
	}
	for _, content := range []string{`{"variables":{"a":"\\u0000"}}`, `{"tags":["\\\\u0000","\u0001"]}`} {
		status, _ := decodes[variety](t, content)
		require.Equal(t, 200, status, content)
	}
}

func TestFieldInsideAnObjectIsNamedByItsPath(t *testing.T) {
	t.Parallel()
	type register struct {
		Email       string `json:"email"`
		Preferences struct {
			Email bool `json:"email"`
			Push  bool `json:"push"`
		} `json:"preferences"`
	}
	_, errors := decodes[register](t, `{"EMAIL":"a@example.com","preferences":{"email":"yes"}}`)
	require.Equal(t, map[string][]string{
		"email": {"This field is required."}, "preferences.email": {"Must be true or false."}, "preferences.push": {"This field is required."},
	}, errors)
	_, errors = decodes[register](t, `{"email":"a@example.com"}`)
	require.Equal(t, map[string][]string{"preferences": {"This field is required."}}, errors)
}

func TestEndpointThatTakesNoBodyDoesNotReadOne(t *testing.T) {
	t.Parallel()
	status, _ := decodes[web.None](t, `{not json`)
	require.Equal(t, 200, status)
}
