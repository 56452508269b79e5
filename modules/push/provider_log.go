package push

import (
	"context"
	"log/slog"
)

// LogProvider delivers to the log, for development and for installations without push.
type LogProvider struct{ Log *slog.Logger }

// Name implements Provider.
func (LogProvider) Name() string { return "log" }

// Takes implements Provider.
func (LogProvider) Takes(string) bool { return true }

// Send implements Provider. Neither token nor text is written: both are the user's own.
func (p LogProvider) Send(ctx context.Context, n Notification) (string, error) {
	p.Log.InfoContext(ctx, "push delivered", "request_id", n.RequestID, "user_id", n.UserID, "title_length", len(n.Title))
	return "", nil
}
