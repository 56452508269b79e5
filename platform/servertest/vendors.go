package servertest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowly is how long a slow answer takes.
const slowly = 200 * time.Millisecond

// Vendor stands in for FCM or for APNs, which are the only servers that cannot be had here. It answers
// as the beginning of the device token says, up to a dash for FCM and in hex for APNs; any other token
// is accepted.
type Vendor struct {
	URL string

	mu      sync.Mutex
	got     []VendorRequest
	release chan struct{} // ends those that hang
}

// VendorRequest is one request for a device.
type VendorRequest struct {
	Token  string
	Header http.Header
	Body   map[string]any
	Proto  int // major version of HTTP
}

// Received are the requests for a token.
func (v *Vendor) Received(token string) (found []VendorRequest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.got {
		if r.Token == token {
			found = append(found, r)
		}
	}
	return found
}

func (v *Vendor) note(r VendorRequest) (times int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.got = append(v.got, r)
	for _, other := range v.got {
		if other.Token == r.Token {
			times++
		}
	}
	return times
}

func (v *Vendor) serve(t testing.TB, handler http.Handler) {
	t.Helper()
	v.release = make(chan struct{})
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	v.URL = server.URL
	t.Cleanup(func() {
		close(v.release)
		server.Close()
	})
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func hang(req *http.Request, release <-chan struct{}) {
	select {
	case <-req.Context().Done():
	case <-release:
	}
}

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func writeJSON(t testing.TB, value any) (file string) {
	t.Helper()
	content, err := json.Marshal(value)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "credentials.json")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}
