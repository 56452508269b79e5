package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
	"user-service/platform/logging"
	"user-service/platform/servertest"
)

// createKey gives what the command says on standard output.
func (s *stack) createKey(t *testing.T, name string) string {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, "service-key", "create", name)
	cmd.Dir, cmd.Env = t.TempDir(), s.environment()
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func TestServiceKeyIsTakenUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	out := s.createKey(t, "email-service")
	require.Regexp(t, `^usk_\S+\n$`, out, "the key alone, to be piped")
	key := strings.TrimSpace(out)
	a, err := newCore(s.config, 2, logging.New(t.Output(), s.config.LogLevel, false))
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.db.Close() })
	judge := a.auth.Authority().Key
	principal, err := judge(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, identity.Principal{Service: "email-service"}, principal)

	revoked, status := s.command(t, s.environment(), "service-key", "revoke", "email-service")
	require.Zero(t, status, revoked)
	start := time.Now()
	servertest.Eventually(t, func() bool {
		_, err := judge(t.Context(), key)
		return err != nil
	}, "an instance that runs hears of it")
	require.Less(t, time.Since(start), 5*time.Second)
	require.NotEqual(t, out, s.createKey(t, "email-service"), "the name is free again, for another key")

	list, status := s.command(t, s.environment(), "service-key", "list")
	require.Zero(t, status, list)
	rows := strings.Split(strings.TrimSpace(list), "\n")
	require.Equal(t, []string{"NAME", "HINT", "CREATED", "LAST", "USED", "REVOKED"}, strings.Fields(rows[0]))
	require.Len(t, rows, 3)
	require.Contains(t, rows[1], key[:8]+"…")
	require.NotContains(t, list, key)
	require.Equal(t, strings.Index(rows[0], "HINT"), strings.Index(rows[1], "usk_"), "aligned")
	for n, revoked := range []bool{true, false} {
		fields := strings.Fields(rows[n+1])
		require.Equal(t, revoked, fields[4] != "-", rows[n+1])
	}
}

func TestServiceKeyOfABadOrTakenOrUnknownNameIsRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.createKey(t, "taken")
	for _, wrong := range []struct{ verb, name, complaint string }{
		{"create", "No Spaces", "is not valid"}, {"create", "taken", "already"}, {"revoke", "unknown", "no service key"},
	} {
		out, status := s.command(t, s.environment(), "service-key", wrong.verb, wrong.name)
		require.Equal(t, 1, status)
		require.Contains(t, out, wrong.complaint)
		require.Equal(t, 1, strings.Count(out, "\n"), out)
	}
	out, _ := s.command(t, s.environment(), "service-key", "list")
	require.Contains(t, out, "taken")
}
