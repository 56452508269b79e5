package main

import (
	"context"
	"fmt"
	"strings"
	"time"

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

// silence keeps connections open, and swallows all that is said on them, until anew.
func (l *link) silence() {
	for _, stream := range []string{"upstream", "downstream"} {
		l.add(fmt.Sprintf(`{"name":"silent-%s","type":"timeout","stream":%q,"attributes":{"timeout":0}}`, stream, stream))
	}
}

// wear has every connection break when so many bytes have been said to the server, until anew.
func (l *link) wear(bytes int) {
	l.add(fmt.Sprintf(`{"name":"worn","type":"limit_data","stream":"upstream","attributes":{"bytes":%d}}`, bytes))
}

func (l *link) add(toxic string) { must(l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))) }

// calm ends delays. toxiproxy hangs where a connection has just broken.
func (l *link) calm(ctx context.Context) {
	calm := make(chan struct{})
	go func() {
		defer close(calm)
		l.proxy.Toxics.ResetToxics(ctx)
	}()
	select {
	case <-calm:
	case <-time.After(20 * time.Second):
		check(fmt.Errorf("the proxy in front of %s hangs", l.proxy.Upstream))
	}
}

// anew ends all connections, and lets new ones through that nothing is wrong with.
func (l *link) anew(ctx context.Context) {
	l.cut()
	pause(ctx, lingering)
	l.calm(ctx)
	l.mend()
}

// lingering is what connections that broke take to end.
const lingering = 500 * time.Millisecond
