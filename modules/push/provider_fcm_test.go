package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func newFCM(t *testing.T, google *servertest.FCM) *FCM {
	t.Helper()
	content, err := os.ReadFile(google.Credentials)
	require.NoError(t, err)
	account, err := ParseServiceAccount(content)
	require.NoError(t, err)
	p := NewFCM(account, google.URL, 4)
	p.within, p.tokens.client.Timeout = time.Second, time.Second
	return p
}

// verdict is the part of an answer that decides the fate of a message.
type verdict struct {
	id       string
	dead     bool
	rejected bool
	away     *Away
}

func verdictOf(id string, err error) (v verdict) {
	v.id = id
	_, v.dead = errors.AsType[*DeadToken](err)
	_, v.rejected = errors.AsType[*Rejected](err)
	if away, ok := errors.AsType[*Away](err); ok {
		v.away = &Away{RetryAfter: away.RetryAfter, Busy: away.Busy, Everybody: away.Everybody, Settings: away.Settings, Soon: away.Soon}
	}
	return v
}

func TestAnswersOfFCMAreUnderstood(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	p := newFCM(t, google)
	const accepted = "projects/project-1/messages/1"
	for token, want := range map[string]verdict{
		"ok":          {id: accepted},
		"slow":        {id: accepted},
		"garbage":     {},
		"400":         {dead: true},
		"400-field":   {rejected: true},
		"400-payload": {rejected: true},
		"401":         {away: &Away{Everybody: true, Settings: true, RetryAfter: 10 * time.Second}},
		"401-apple":   {away: &Away{Settings: true, Busy: true, RetryAfter: 10 * time.Second}},
		"403":         {dead: true},
		"403-project": {away: &Away{Settings: true, RetryAfter: 10 * time.Second}},
		"404":         {dead: true},
		"404-project": {away: &Away{Settings: true, RetryAfter: 10 * time.Second}},
		"429":         {away: &Away{Busy: true, Everybody: true, RetryAfter: time.Minute}},
		"429-after":   {away: &Away{Busy: true, Everybody: true, RetryAfter: 7 * time.Second}},
		"429-device":  {away: &Away{Busy: true, RetryAfter: time.Minute}},
		"500":         {away: &Away{RetryAfter: 10 * time.Second}},
		"503":         {away: &Away{RetryAfter: 33 * time.Second}},
		"hang":        {away: &Away{RetryAfter: 10 * time.Second}},
	} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, verdictOf(p.Send(t.Context(), Notification{RequestID: "r", Token: token})))
		})
	}
}

func TestFCMGetsWhatItsRulesSay(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	p := newFCM(t, google)
	variables := map[string]any{
		"name": "Ada", "id": json.Number("12345678901234567890"), "vip": true, "none": nil, "list": []any{"a", json.Number("1.10")},
	}
	for priority, high := range map[int]bool{0: false, 4: false, 5: true, 10: true} {
		token := "device~" + string(rune('a'+priority))
		_, err := p.Send(t.Context(), Notification{RequestID: "request-1", Token: token, Title: "Hello", Body: "Ada", Data: variables, Priority: priority})
		require.NoError(t, err)
		got := google.Received(token)[0].Body
		require.Equal(t, map[string]any{"title": "Hello", "body": "Ada"}, got["notification"])
		require.Equal(t, map[string]any{"name": "Ada", "id": "12345678901234567890", "vip": "true", "list": `["a",1.10]`}, got["data"])
		want := map[bool][3]string{true: {"HIGH", "10", "high"}, false: {"NORMAL", "5", "normal"}}[high]
		require.Equal(t, map[string]any{"priority": want[0], "collapse_key": "request-1", "notification": map[string]any{"tag": "request-1"}}, got["android"])
		require.Equal(t, map[string]any{"headers": map[string]any{"apns-priority": want[1], "apns-collapse-id": "request-1"}}, got["apns"])
		require.Equal(t, map[string]any{"headers": map[string]any{"Urgency": want[2]}, "notification": map[string]any{"tag": "request-1"}}, got["webpush"])
	}
}

func TestFCMIsNotAskedForWhatItWouldRefuse(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	p := newFCM(t, google)
	for _, key := range []string{"from", "message_type", "google.x", "googleThing", "gcm", "gcm.notification.title"} {
		_, err := p.Send(t.Context(), Notification{Token: "device", Data: map[string]any{key: "x"}})
		refused := new(Rejected)
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "reserved_variable", refused.Reason)
		require.Contains(t, refused.Detail, key)
	}
	frame := len(`{"notification":{"title":"","body":""}}`)
	_, err := p.Send(t.Context(), Notification{Token: "fits", Body: strings.Repeat("&", maxPayload-frame)})
	require.NoError(t, err, "as they are counted by the vendor")
	_, err = p.Send(t.Context(), Notification{Token: "fits", Body: strings.Repeat("x", maxPayload-frame)})
	require.NoError(t, err)
	_, err = p.Send(t.Context(), Notification{Token: "device", Body: strings.Repeat("x", maxPayload-frame+1)})
	refused := new(Rejected)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "payload_too_large", refused.Reason)
	require.Contains(t, refused.Detail, "4097 bytes")
	require.Empty(t, google.Received("device"))
}

func TestServiceAccountThatGoogleRefusesIsAFaultOfTheSettings(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	google.Locked = true
	_, err := newFCM(t, google).Send(t.Context(), Notification{Token: "ok"})
	require.Equal(t, verdict{away: &Away{Everybody: true, Settings: true, RetryAfter: 10 * time.Second}}, verdictOf("", err))
	require.ErrorContains(t, err, "invalid_grant")

	away := servertest.NewFCM(t)
	p := newFCM(t, away)
	p.tokens.account = mustParse(t, away.Credentials, away.URL, "http://127.0.0.1:1")
	_, err = p.Send(t.Context(), Notification{Token: "ok"})
	require.Equal(t, verdict{away: &Away{RetryAfter: 10 * time.Second}}, verdictOf("", err))
}

func TestAccessTokenThatIsRefusedIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	p := newFCM(t, google)
	for range 2 {
		_, err := p.Send(t.Context(), Notification{Token: "ok"})
		require.NoError(t, err)
	}
	google.Revoke()
	_, err := p.Send(t.Context(), Notification{Token: "ok"})
	require.ErrorAs(t, err, new(*Away))
	_, err = p.Send(t.Context(), Notification{Token: "ok"})
	require.NoError(t, err)
}

// TestAllWaitForOneAccessToken and not one after the other, for a server that is silent.
func TestAllWaitForOneAccessToken(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	google.Silent = true
	p := newFCM(t, google)
	start := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := p.Send(t.Context(), Notification{Token: "ok"})
			require.ErrorAs(t, err, new(*Away))
		})
	}
	all.Wait()
	require.Less(t, time.Since(start), 10*p.within)
}

func TestAccessTokenIsNotAskedForElsewhere(t *testing.T) {
	t.Parallel()
	google := servertest.NewFCM(t)
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	moved := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	p := newFCM(t, google)
	p.tokens.account = mustParse(t, google.Credentials, google.URL, moved.URL)
	_, err := p.Send(t.Context(), Notification{Token: "ok"})
	require.ErrorAs(t, err, new(*Away))
	require.Zero(t, asked.Load(), "what we signed is nobody else's")
}

// mustParse reads a service account with some text of it replaced.
func mustParse(t *testing.T, file, old, with string) ServiceAccount {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	account, err := ParseServiceAccount([]byte(strings.ReplaceAll(string(content), old, with)))
	require.NoError(t, err)
	return account
}

func TestFaultsOfAServiceAccountAreNamed(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(servertest.NewFCM(t).Credentials)
	require.NoError(t, err)
	for field, fault := range map[string]string{
		"type": "type", "project_id": "project_id", "client_email": "client_email", "private_key": "private_key", "token_uri": "token_uri",
	} {
		var account map[string]string
		require.NoError(t, json.Unmarshal(content, &account))
		secret := account["private_key"]
		account[field] = "/"
		if field == "client_email" {
			account[field] = ""
		}
		changed, err := json.Marshal(account)
		require.NoError(t, err)
		_, err = ParseServiceAccount(changed)
		require.ErrorContains(t, err, fault)
		require.NotContains(t, err.Error(), secret)
	}
	_, err = ParseServiceAccount([]byte("nothing"))
	require.ErrorContains(t, err, "JSON")
}

func TestDuplicateReplacesWhatIsShown(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxCollapseID+1)
	require.Equal(t, "request-1", collapseID("request-1"))
	for _, id := range []string{long, "zwei Wörter", "zwei wörter"} {
		require.Len(t, collapseID(id), 43)
	}
	require.NotEqual(t, collapseID("zwei Wörter"), collapseID("zwei wörter"))
}

// FuzzAnswer takes whatever a vendor or a sibling answers.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"name":"projects/p/messages/1"}`, "")
	f.Add(404, `{"error":{"code":404,"status":"NOT_FOUND","details":[{"@type":"x.FcmError","errorCode":"UNREGISTERED"}]}}`, "")
	f.Add(429, `{"error":{"details":[{"violations":[{"subject":"device"}]}]}}`, "7")
	f.Add(410, `{"reason":"Unregistered","timestamp":99999999999999999}`, "Wed, 21 Oct 2099 07:28:00 GMT")
	f.Add(500, "\x00", "-1")
	f.Add(200, `{"data":{"title":"T","body_text":"B"}}`, "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, body, wait string) {
		a := answer{status, http.Header{"Retry-After": {wait}, "Apns-Id": {wait}}, []byte(body)}
		require.GreaterOrEqual(t, a.retryAfter(), time.Duration(0))
		id, err := judgeFCM(a)
		require.True(t, err == nil || id == "")
		require.True(t, storable(id, maxProviderID))
		id, _, err = judgeAPNs(a)
		require.True(t, err == nil || id == "")
		require.True(t, storable(id, maxProviderID))
		id, err = judgeWebhook(a)
		require.True(t, err == nil || id == "")
		require.True(t, storable(id, maxProviderID))
		text, err := judgeRender(a, "code")
		require.True(t, err == nil || text == Text{})
	})
}
