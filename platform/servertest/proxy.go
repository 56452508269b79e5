package servertest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// Proxy stands before a server. Cut takes the server away, Restore brings it back.
type Proxy struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// NewProxy puts a proxy before the server of rawURL, and gives the URL that leads through it.
func NewProxy(t testing.TB, rawURL string) (*Proxy, string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{t, toxiproxy.NewProxy(server, u.Host, "127.0.0.1:0", u.Host)}
	p.Restore()
	t.Cleanup(p.proxy.Stop)
	u.Host = p.proxy.Listen
	return p, u.String()
}

// Cut closes every connection and refuses new ones.
func (p *Proxy) Cut() { p.proxy.Stop() }

// Restore lets connections through again, at the same address.
func (p *Proxy) Restore() { require.NoError(p.t, p.proxy.Start()) }

// Disturb adds a disturbance of Toxiproxy, in its JSON: {"type":"timeout","stream":"upstream",
// "attributes":{"timeout":0}} is a server that has gone silent.
func (p *Proxy) Disturb(toxic string) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to stderr, whatever logger they are given
	_, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(p.t, err)
}

// Calm ends every disturbance.
func (p *Proxy) Calm() { p.proxy.Toxics.ResetToxics(p.t.Context()) }
