// Package logging writes one JSON object a line with the keys timestamp, level, logger and message;
// with debug, one readable coloured line instead. The correlation id of the context is added to
// every line by itself. No secret, token, password or e-mail address belongs in an attribute; what looks
// like an address or a signed token is blotted out, whoever put it there.
package logging

import (
	"context"
	"io"
	"log/slog"

	"user-service/platform/correlation"
)

const nameKey = "logger"

// New makes the root logger. Each part adds its own name, as the attribute logger.
func New(w io.Writer, level slog.Level, debug bool) *slog.Logger {
	var handler slog.Handler
	if debug {
		handler = &readable{w: w, level: level}
	} else {
		handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: mend})
	}
	return slog.New(named(handler, "main"))
}

// mend names the keys as we do, and blots out what must not be shown.
func mend(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey:
		return slog.Attr{Key: "timestamp", Value: a.Value}
	case a.Key == slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String(slog.LevelKey, level.String())
		}
	case a.Key == slog.MessageKey:
		a.Key = "message"
	}
	a.Value = blotOut(a.Value)
	return a
}

// correlated adds the correlation id of the context to each record, and the name of the logger: the latest
// it was given, since the parts name themselves on a logger that may have a name already.
type correlated struct {
	slog.Handler              // with the name
	nameless     slog.Handler // with all else that it was given
	name         string
}

func named(handler slog.Handler, name string) correlated {
	return correlated{handler.WithAttrs([]slog.Attr{slog.String(nameKey, name)}), handler, name}
}

// Handle implements slog.Handler. It needs no copy of the record, which goes nowhere else.
func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := correlation.From(ctx).Correlation; id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	name := h.name
	var others []slog.Attr
	for _, a := range attrs {
		if a.Key == nameKey {
			name = a.Value.String()
		} else {
			others = append(others, a)
		}
	}
	return named(h.nameless.WithAttrs(others), name)
}

func (h correlated) WithGroup(group string) slog.Handler {
	return named(h.nameless.WithGroup(group), h.name)
}
