package logging

import (
	"log/slog"
	"regexp"
	"strings"
)

// secretive finds addresses of mail, users and passwords in URLs, and signed tokens. None is logged on
// purpose; this is for what a library, a server or a stranger puts into an error.
var secretive = regexp.MustCompile(`[^\s"'<>(),;=/]+@[^\s"'<>(),;=/]+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*`)

const blot = "…"

// blotted is text without what must not be in a log.
func blotted(text string) string {
	if !strings.Contains(text, "@") && !strings.Contains(text, "eyJ") {
		return text
	}
	return secretive.ReplaceAllLiteralString(text, blot)
}

// blotOut makes a value safe, where it is one that has a text.
func blotOut(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(blotted(v.String()))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.StringValue(blotted(err.Error()))
		}
		if text, ok := v.Any().(interface{ String() string }); ok {
			return slog.StringValue(blotted(text.String()))
		}
	}
	return v
}
