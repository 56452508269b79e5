package push

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

func newAPNs(t *testing.T, apple *servertest.APNs) *APNs {
	t.Helper()
	content, err := os.ReadFile(apple.KeyFile)
	require.NoError(t, err)
	key, err := ParseAPNsKey(content, "KEY1234567", "TEAM123456")
	require.NoError(t, err)
	p := NewAPNs(key, "com.example.app", apple.URL)
	p.within = time.Second
	return p
}

func TestAnswersOfAPNsAreUnderstood(t *testing.T) {
	t.Parallel()
	apple := servertest.NewAPNs(t)
	p := newAPNs(t, apple)
	for magic, want := range map[string]verdict{
		"ok":          {id: "apns-1"},
		"slow":        {id: "apns-1"},
		"400":         {rejected: true},
		"400-other":   {rejected: true},
		"400-idle":    {away: &Away{Soon: true}},
		"400-topic":   {away: &Away{Everybody: true, Settings: true}},
		"403":         {away: &Away{Everybody: true, Settings: true}},
		"403-expired": {away: &Away{Everybody: true, Settings: true}},
		"403-once":    {id: "apns-1"},
		"410":         {dead: true},
		"413":         {rejected: true},
		"429":         {away: &Away{Busy: true, RetryAfter: time.Minute}},
		"429-ours":    {away: &Away{Busy: true, Everybody: true, RetryAfter: time.Minute}},
		"500":         {away: &Away{}},
		"503":         {away: &Away{}},
		"hang":        {away: &Away{}},
		"garbage":     {away: &Away{}},
	} {
		t.Run(magic, func(t *testing.T) {
			t.Parallel()
			id, err := p.Send(t.Context(), Notification{RequestID: "r", Token: servertest.AppleToken(magic)})
			require.Equal(t, want, verdictOf(id, err))
			if dead, ok := errors.AsType[*DeadToken](err); ok {
				require.Equal(t, servertest.Died, *dead.Since)
			}
		})
	}
}

func TestExpiredProviderTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	apple := servertest.NewAPNs(t)
	p := newAPNs(t, apple)
	for magic, requests := range map[string]int{"403-once": 2, "403-expired": 2, "403": 1} {
		token := servertest.AppleToken(magic)
		_, _ = p.Send(t.Context(), Notification{Token: token})
		require.Len(t, apple.Received(token), requests, magic)
	}
	once := apple.Received(servertest.AppleToken("403-once"))
	require.NotEqual(t, once[0].Header.Get("Authorization"), once[1].Header.Get("Authorization"))
}

func TestAPNsGetsWhatItsRulesSay(t *testing.T) {
	t.Parallel()
	apple := servertest.NewAPNs(t)
	p := newAPNs(t, apple)
	var bearers []string
	for priority, want := range map[int]string{0: "5", 4: "5", 5: "10", 10: "10"} {
		token := servertest.AppleToken(string(rune('a' + priority)))
		_, err := p.Send(t.Context(), Notification{
			RequestID: "request-1", Token: token, Title: "Hello", Body: "Ada", Priority: priority, Data: map[string]any{"name": "Ada", "n": json.Number("1.10")},
		})
		require.NoError(t, err)
		got := apple.Received(token)[0]
		require.Equal(t, 2, got.Proto)
		require.Equal(t, map[string]any{"aps": map[string]any{"alert": map[string]any{"title": "Hello", "body": "Ada"}}, "name": "Ada", "n": "1.10"}, got.Body)
		for header, value := range map[string]string{
			"Apns-Topic": "com.example.app", "Apns-Push-Type": "alert", "Apns-Priority": want, "Apns-Collapse-Id": "request-1",
		} {
			require.Equal(t, value, got.Header.Get(header), header)
		}
		bearers = append(bearers, got.Header.Get("Authorization"))
	}
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(strings.TrimPrefix(bearers[0], "bearer "), claims, func(*jwt.Token) (any, error) {
		return &p.tokens.key.private.PublicKey, nil
	}, jwt.WithValidMethods([]string{"ES256"}))
	require.NoError(t, err)
	require.Equal(t, "KEY1234567", token.Header["kid"])
	require.Equal(t, "TEAM123456", claims["iss"])
	require.NotContains(t, claims, "exp")
	for _, bearer := range bearers {
		require.Equal(t, bearers[0], bearer, "Apple wants the token to stay for a while")
	}
	p.tokens.signed = time.Now().Add(-renewAfter)
	_, err = p.Send(t.Context(), Notification{Token: servertest.AppleToken("later")})
	require.NoError(t, err)
	require.NotEqual(t, bearers[0], apple.Received(servertest.AppleToken("later"))[0].Header.Get("Authorization"))
}

func TestAPNsIsNotAskedForWhatItWouldRefuse(t *testing.T) {
	t.Parallel()
	apple := servertest.NewAPNs(t)
	p := newAPNs(t, apple)
	token := servertest.AppleToken("ok")
	for reason, n := range map[string]Notification{
		"reserved_variable": {Token: token, Data: map[string]any{"aps": "x"}},
		"payload_too_large": {Token: token, Body: strings.Repeat("x", maxPayload)},
	} {
		_, err := p.Send(t.Context(), n)
		refused := new(Rejected)
		require.ErrorAs(t, err, &refused)
		require.Equal(t, reason, refused.Reason)
	}
	require.Empty(t, apple.Received(token))
}

func TestProviderGoesByTheFormOfTheToken(t *testing.T) {
	t.Parallel()
	all := guard([]Provider{&FCM{}, &APNs{}}, 5, 4, newMetrics(), silent)
	for token, want := range map[string]string{
		servertest.AppleToken("x"):               "apns",
		strings.Repeat("F", 64):                  "apns",
		strings.Repeat("a", 160):                 "apns",
		strings.Repeat("a", 63):                  "fcm",
		strings.Repeat("g", 64):                  "fcm",
		"fXy1:APA91b" + strings.Repeat("a", 100): "fcm",
	} {
		require.Equal(t, want, senderTo(all, token).Name(), token)
	}
}

func TestFaultsOfAKeyForAPNsAreNamed(t *testing.T) {
	t.Parallel()
	rsa, err := os.ReadFile(servertest.NewFCM(t).Credentials)
	require.NoError(t, err)
	var account struct {
		PrivateKey string `json:"private_key"`
	}
	require.NoError(t, json.Unmarshal(rsa, &account))
	for content, fault := range map[string]string{
		"": "PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "PKCS #8", account.PrivateKey: "P-256",
	} {
		_, err := ParseAPNsKey([]byte(content), "k", "t")
		require.ErrorContains(t, err, fault)
	}
}
