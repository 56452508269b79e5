package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// readable is for people at a terminal: time, level, message, then the attributes.
type readable struct {
	w     io.Writer
	level slog.Level
	attrs []slog.Attr
}

var writing sync.Mutex

var colours = map[slog.Level]string{
	slog.LevelDebug: "\x1b[90m", slog.LevelInfo: "\x1b[32m", slog.LevelWarn: "\x1b[33m", slog.LevelError: "\x1b[31m",
}

func (h *readable) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *readable) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	fmt.Fprintf(&line, "\x1b[90m%s\x1b[0m %s%-5s\x1b[0m %s", r.Time.Format("15:04:05.000"), colours[r.Level], r.Level, printable(blotted(r.Message)))
	write := func(a slog.Attr) bool {
		if a.Key != nameKey {
			fmt.Fprintf(&line, " \x1b[90m%s=\x1b[0m%v", a.Key, printable(blotted(a.Value.Resolve().String())))
		}
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	line.WriteByte('\n')

	writing.Lock()
	defer writing.Unlock()
	_, err := h.w.Write(line.Bytes())
	return err
}

// printable keeps what strangers sent from moving the cursor or beginning a line of its own.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

func (h *readable) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	return &with
}

func (h *readable) WithGroup(string) slog.Handler { return h }
