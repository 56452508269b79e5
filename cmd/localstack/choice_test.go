package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/cmd/localstack/servers"
)

func TestWrongURLIsNamedAndNothingIsStarted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := localstack(t, dir, []string{"DATABASE_URL=postgres://me:hunter2@127.0.0.1:1/x", "REDIS_URL=redis://:hunter2@127.0.0.1:1"}, "up")
	require.Equal(t, 1, c.run(t))
	require.Contains(t, c.says.String(), "DATABASE_URL")
	require.Contains(t, c.says.String(), "REDIS_URL")
	require.NotContains(t, c.says.String(), "hunter2")
	require.NoDirExists(t, dir)
}

func TestAllURLsGivenStartNothing(t *testing.T) {
	t.Parallel()
	elsewhere, dir := t.TempDir(), t.TempDir()
	require.Zero(t, localstack(t, elsewhere, nil, "up", "--fast").run(t))
	given := readEnv(t, elsewhere)
	c := localstack(t, dir, []string{"REDIS_URL=" + given["REDIS_URL"], "PATH="}, "up")
	require.Zero(t, c.run(t))
	env := readEnv(t, dir)
	require.Equal(t, given["REDIS_URL"], env["REDIS_URL"])
	require.NotEqual(t, given["SECRET_KEY"], env["SECRET_KEY"])
	require.NoDirExists(t, filepath.Join(dir, "redis"))
	require.Zero(t, localstack(t, dir, nil, "down").run(t))
	require.True(t, running(t, elsewhere, servers.Redis), "not ours to stop")
}

func TestURLReadFromOurOwnFileIsNotGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.Zero(t, localstack(t, dir, nil, "up", "--fast").run(t))
	ours := readEnv(t, dir)["REDIS_URL"]
	require.Zero(t, localstack(t, dir, nil, "down").run(t))
	c := localstack(t, dir, []string{"REDIS_URL=" + ours}, "up", "--fast")
	require.Zero(t, c.run(t), c.says.String())
	require.Equal(t, ours, readEnv(t, dir)["REDIS_URL"])
	require.True(t, running(t, dir, servers.Redis))
	require.Zero(t, localstack(t, dir, nil, "down").run(t))
}

func TestMissingServersAreNamedWithWhatWouldHelp(t *testing.T) {
	t.Parallel()
	c := localstack(t, t.TempDir(), []string{"PATH=" + t.TempDir()}, "up")
	require.Equal(t, 1, c.run(t))
	said := lines(c.says.String())
	last := said[len(said)-1]
	require.Contains(t, last, "redis is not installed")
	require.Contains(t, last, "redis-server")
	require.Contains(t, last, "Docker")
	require.Contains(t, last, "REDIS_URL")
	require.NotContains(t, c.says.String(), "goroutine")
}

// fakeDocker is a docker client on a PATH of its own. Its compose starts a real Redis, as the compose
// file would, unless it is told to fail. It writes down how it was called.
func fakeDocker(t *testing.T) (env []string, calls func() string) {
	t.Helper()
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip(err)
	}
	bin, work := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "docker"), []byte(`#!/bin/sh
PATH=/usr/bin:/bin
cd `+work+`
echo "$@" >> calls
case "$*" in
*" up "*)
	test -n "$FAIL" && exit 1
	`+redis+` --port $REDIS_PORT --bind 127.0.0.1 --requirepass $REDIS_PASSWORD --save "" --daemonize yes --pidfile `+work+`/pid >/dev/null
	while ! test -s pid; do sleep 0.02; done;;
*" down"*) test -e pid && kill $(cat pid); rm -f pid;;
esac
exit 0
`), 0o755))
	t.Cleanup(func() {
		out, _ := exec.Command("sh", "-c", "test ! -e "+work+"/pid || kill $(cat "+work+"/pid)").CombinedOutput()
		require.Empty(t, string(out))
	})
	require.NoError(t, os.MkdirAll(filepath.Join(work, "docker"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(work, composeFile), nil, 0o600))
	return append(private, "PATH="+bin, "PWD="+work), func() string {
		text, _ := os.ReadFile(filepath.Join(work, "calls"))
		return string(text)
	}
}

func TestDockerStartsWhatIsNotInstalled(t *testing.T) {
	t.Parallel()
	env, calls := fakeDocker(t)
	dir := t.TempDir()
	inWork := func(args ...string) *call {
		c := localstack(t, dir, env, args...)
		c.Dir = strings.TrimPrefix(env[2], "PWD=")
		return c
	}
	up := inWork("up", "--fast")
	require.Zero(t, up.run(t))
	require.Regexp(t, `compose -p localstack-[0-9a-f]+ -f \S+/docker/compose.yaml up -d --wait redis\n`, calls())
	require.NotContains(t, calls(), " down")
	require.NoError(t, servers.Redis.Check(t.Context(), readEnv(t, dir)["REDIS_URL"]))
	require.True(t, running(t, dir, servers.Postgres), "what is installed is not left to Docker")

	again := inWork("up", "--fast")
	require.Zero(t, again.run(t))
	require.Equal(t, 1, strings.Count(calls(), " up "))
	require.Contains(t, again.says.String(), "already up: redis")
	status := inWork("status")
	require.Zero(t, status.run(t))
	require.Regexp(t, `redis .* up \(docker\)`, status.out.String())

	require.Zero(t, inWork("down").run(t))
	require.Regexp(t, ` down\n$`, calls())
	url := readEnv(t, dir)["REDIS_URL"]
	require.Eventually(t, func() bool { return servers.Redis.Check(t.Context(), url) != nil }, 10*time.Second, 10*time.Millisecond,
		"the fake, unlike Docker, does not wait for the end of what it stops")
	require.Zero(t, inWork("clean").run(t))
	require.Regexp(t, ` down -v\n$`, calls())
}

func TestDockerThatFailsIsCleanedUpAndTheNextWayIsTried(t *testing.T) {
	t.Parallel()
	env, calls := fakeDocker(t)
	c := localstack(t, t.TempDir(), append(env, "FAIL=1"), "up")
	c.Dir = strings.TrimPrefix(env[2], "PWD=")
	require.Equal(t, 1, c.run(t))
	require.Regexp(t, ` up -d --wait redis\n.* down -v\n$`, calls())
	require.Contains(t, c.says.String(), "going on without Docker")
	require.Contains(t, c.says.String(), "redis is not installed")
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"up", "run", "down", "clean", "status"} {
		c := localstack(t, t.TempDir(), nil, name, "--help")
		require.Zero(t, c.run(t))
		require.Contains(t, c.out.String(), "Example:\n\n    localstack "+name)
	}
}
