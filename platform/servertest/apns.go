package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// APNs is Apple's end.
type APNs struct {
	Vendor
	KeyFile string // .p8 of a key that it knows
}

// NewAPNs starts a stand-in that answers by magic tokens, AppleToken of: 400, 400-topic, 403, 403-once,
// 410, 413, 429, 500, 503, slow, hang, garbage.
func NewAPNs(t testing.TB) *APNs {
	t.Helper()
	a := new(APNs)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /3/device/{token}", a.send)
	a.serve(t, mux)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.KeyFile = filepath.Join(t.TempDir(), "AuthKey.p8")
	require.NoError(t, os.WriteFile(a.KeyFile, []byte(pkcs8(t, key)), 0o600))
	return a
}

// AppleToken is a device token of Apple's form that has magic at its beginning.
func AppleToken(magic string) string {
	const hex = "0123456789abcdef"
	var token strings.Builder
	for _, c := range []byte(magic) {
		token.WriteByte(hex[c>>4])
		token.WriteByte(hex[c&15])
	}
	return token.String() + strings.Repeat("0", max(0, 64-token.Len()))
}

// Died is when a token of 410 died, says Apple.
var Died = time.UnixMilli(1_700_000_000_000)

func (a *APNs) send(w http.ResponseWriter, req *http.Request) {
	var body map[string]any
	if json.NewDecoder(req.Body).Decode(&body) != nil || !strings.HasPrefix(req.Header.Get("Authorization"), "bearer ey") {
		answer(w, 403, `{"reason":"MissingProviderToken"}`)
		return
	}
	token := req.PathValue("token")
	times := a.note(VendorRequest{token, req.Header.Clone(), body, req.ProtoMajor})
	w.Header().Set("Apns-Id", "apns-1")
	switch token {
	case AppleToken("400"):
		answer(w, 400, `{"reason":"BadDeviceToken"}`)
	case AppleToken("400-other"):
		answer(w, 400, `{"reason":"DeviceTokenNotForTopic"}`)
	case AppleToken("400-idle"):
		answer(w, 400, `{"reason":"IdleTimeout"}`)
	case AppleToken("400-topic"):
		answer(w, 400, `{"reason":"TopicDisallowed"}`)
	case AppleToken("403"):
		answer(w, 403, `{"reason":"InvalidProviderToken"}`)
	case AppleToken("403-expired"):
		answer(w, 403, `{"reason":"ExpiredProviderToken"}`)
	case AppleToken("403-once"):
		if times == 1 {
			answer(w, 403, `{"reason":"ExpiredProviderToken"}`)
		}
	case AppleToken("410"):
		answer(w, 410, `{"reason":"Unregistered","timestamp":1700000000000}`)
	case AppleToken("413"):
		answer(w, 413, `{"reason":"PayloadTooLarge"}`)
	case AppleToken("429"):
		answer(w, 429, `{"reason":"TooManyRequests"}`)
	case AppleToken("429-ours"):
		answer(w, 429, `{"reason":"TooManyProviderTokenUpdates"}`)
	case AppleToken("500"):
		answer(w, 500, `{"reason":"InternalServerError"}`)
	case AppleToken("503"):
		answer(w, 503, `{"reason":"Shutdown"}`)
	case AppleToken("slow"):
		<-time.After(slowly)
	case AppleToken("hang"):
		hang(req, a.release)
	case AppleToken("garbage"):
		answer(w, 500, "\x00\xff not JSON")
	}
}
