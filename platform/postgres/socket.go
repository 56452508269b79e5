package postgres

import (
	"context"
	"net"
	"time"
)

// dialer hands the socket it opens to who puts a *net.Conn into the context.
type dialer struct{ net.Dialer }

type socketKey struct{}

// DialContext implements pq.DialerContext.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if socket, ok := ctx.Value(socketKey{}).(*net.Conn); ok {
		*socket = conn
	}
	if err != nil {
		return nil, err
	}
	return &beginLater{Conn: conn}, nil
}

// DialTimeout implements pq.Dialer, which would call it if there were no DialContext.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}
