package logging_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/logging"
)

func TestAddressesAndTokensAreBlottedOutWhereverTheyStand(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	server, err := url.Parse("amqp://service:hidden@host:5672/")
	require.NoError(t, err)
	for _, debug := range []bool{false, true} {
		var out bytes.Buffer
		log := logging.New(&out, slog.LevelInfo, debug).With("always", "<ada@example.com>")
		log.Warn("refused: ada@example.com", "error", errors.New("550 <Ada.Lovelace+x@example.com>: no such user"), "cause", "dial amqp://service:hidden@host:5672/: refused",
			"header", "Bearer "+token, "server", server, slog.Group("inner", "to", "ada@example.com", "rows", 3))
		for _, hidden := range []string{"ada@", "Lovelace", "example.com", "hidden", token, "eyJ"} {
			require.NotContains(t, out.String(), hidden)
		}
		for _, kept := range []string{"refused", "no such user", "Bearer", "dial amqp://", "550"} {
			require.Contains(t, out.String(), kept)
		}
	}
}
