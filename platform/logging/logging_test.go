package logging_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
	"user-service/platform/logging"
)

func TestLineHasTheKeysThatAreSearchedFor(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := logging.New(&out, slog.LevelInfo, false).With("logger", "relay")
	ctx := correlation.With(t.Context(), correlation.IDs{Correlation: "abc"})
	log.DebugContext(ctx, "not shown")
	log.WarnContext(ctx, "carried", "rows", 3)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Equal(t, 1, strings.Count(out.String(), `"logger"`))
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.NotEmpty(t, line["timestamp"])
	delete(line, "timestamp")
	require.Equal(t, map[string]any{"level": "WARN", "logger": "relay", "message": "carried", "rows": 3.0, "correlation_id": "abc"}, line)
}

func TestReadableLineIsOneLineWhateverIsInIt(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := logging.New(&out, slog.LevelInfo, true).With("logger", "relay")
	log.Debug("not shown")
	log.Info("carried", "rows", 3, "hostile", "a\nb\x1b[2J")
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "INFO")
	require.Contains(t, out.String(), "carried")
	require.Contains(t, out.String(), "rows=\x1b[0m3")
	require.NotContains(t, out.String(), "\x1b[2J")
}

func TestPartThatNamesItselfReplacesTheNameItWasGiven(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := logging.New(&out, slog.LevelInfo, false)
	log.Info("one")
	log.With("logger", "app", "part", 1).With("rows", 2, "logger", "relay").Info("two")
	log.WithGroup("inner").With("logger", "ignored").Info("three")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, name := range []string{"main", "relay", "ignored"} {
		require.Equal(t, 1, strings.Count(lines[i], `"logger"`), lines[i])
		require.Contains(t, lines[i], `"logger":"`+name+`"`)
	}
	require.Contains(t, lines[1], `"part":1,"rows":2`)
}

func TestEveryLevelIsShownFromTheOneThatIsAskedFor(t *testing.T) {
	t.Parallel()
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	for _, debug := range []bool{false, true} {
		for i, from := range levels {
			var out bytes.Buffer
			log := logging.New(&out, from, debug)
			for _, level := range levels {
				log.Log(t.Context(), level, "line")
			}
			require.Equal(t, len(levels)-i, strings.Count(out.String(), "\n"))
			require.Contains(t, out.String(), from.String())
		}
	}
}
