package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// provider stands in for Apple's push service, and remembers what it accepted.
type provider struct {
	keyFile string
	server  *http.Server
	address string

	away atomic.Bool
	slow atomic.Int64 // nanoseconds before it answers

	mu       sync.Mutex
	accepted map[string]int // by collapse id, which is the request id
	repeats  map[string]int // by request id: the fault during which it was last accepted once more
}

func newProvider(dir string) *provider {
	p := &provider{keyFile: filepath.Join(dir, "AuthKey.p8"), accepted: map[string]int{}, repeats: map[string]int{}}
	key := must(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	check(os.WriteFile(p.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return p
}

// open serves HTTP/2 without TLS. during says which fault is on.
func (p *provider) open(ctx context.Context, during func() int) {
	listener := must(new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"))
	p.address = listener.Addr().String()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	p.server = &http.Server{Protocols: protocols, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if p.away.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		p.accept(req.Header.Get("Apns-Collapse-Id"), during())
		select {
		case <-time.After(time.Duration(p.slow.Load())):
		case <-req.Context().Done():
		}
		rw.Header().Set("Apns-Id", "apns-1")
	})}
	go func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // nothing can be told of a provider that is gone by itself
		}
	}()
}

func (p *provider) close() {
	if p.server != nil {
		_ = p.server.Close()
	}
}

func (p *provider) accept(id string, during int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted[id]++; p.accepted[id] > 1 {
		p.repeats[id] = during
	}
}

func (p *provider) environment() []string {
	return []string{
		"PUSH_PROVIDER=apns", "APNS_KEY_FILE=" + p.keyFile, "APNS_KEY_ID=KEY1234567", "APNS_TEAM_ID=TEAM123456",
		"APNS_TOPIC=com.example.app", "APNS_BASE_URL=http://" + p.address,
	}
}
