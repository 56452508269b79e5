package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Serve answers on listener until ctx ends, then lets the requests in flight finish, for grace at
// the most.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    60 << 10, // and 4 KiB more, which net/http allows

		DisableGeneralOptionsHandler: true, // its empty 200 has no envelope
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(envelopes{listener}) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(ending)
	if err != nil {
		err = fmt.Errorf("requests were cut off after %s: %w", grace, errors.Join(err, server.Close()))
	}
	if serveErr := <-stopped; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
