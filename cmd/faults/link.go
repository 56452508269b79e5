package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is a proxy between the service and one server.
type link struct{ proxy *toxiproxy.Proxy }

func newLink(to string) *link {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to stderr, whatever logger they are given
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{toxiproxy.NewProxy(server, to, "127.0.0.1:0", to)}
	l.mend()
	return l
}

func (l *link) address() string { return l.proxy.Listen }

// cut closes every connection and refuses new ones.
func (l *link) cut() { l.proxy.Stop() }

// mend lets connections through again, at the same address.
func (l *link) mend() { check(l.proxy.Start()) }

// slow delays what the server says.
func (l *link) slow(milliseconds int) { l.delay("downstream", milliseconds) }

func (l *link) delay(stream string, milliseconds int) {
	l.add(fmt.Sprintf(`{"name":"slow-%s","type":"latency","stream":%q,"attributes":{"latency":%d}}`, stream, stream, milliseconds))
}

// silence keeps connections open, and swallows all that is said on them.
func (l *link) silence() {
	for _, stream := range []string{"upstream", "downstream"} {
		l.add(fmt.Sprintf(`{"name":"silent-%s","type":"timeout","stream":%q,"attributes":{"timeout":0}}`, stream, stream))
	}
}

func (l *link) add(toxic string) { must(l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))) }

// calm ends delays and silence. Connections that were silent break: what was swallowed is missing.
func (l *link) calm(ctx context.Context) { l.proxy.Toxics.ResetToxics(ctx) }
