package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/cmd/localstack/servers"
	"user-service/platform/servertest"
)

func TestRunGivesTheCommandItsServersAndStopsThemAfterwards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := localstack(t, dir, append(private, "RABBITMQ_URL="), "run", "--fast", "--", "sh", "-c", "env; exit 7")
	require.Equal(t, 7, c.run(t))

	env := readEnv(t, dir)
	require.Len(t, env, 5)
	require.Equal(t, "8000", env["PORT"])
	require.Len(t, env["SECRET_KEY"], 64)
	for name, value := range env {
		require.Contains(t, lines(c.out.String()), name+"="+value)
	}
	require.Contains(t, c.out.String(), "RABBITMQ_MANAGEMENT_URL=http://user_service:")
	info, err := os.Stat(filepath.Join(dir, "env"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	for _, k := range servers.Kinds {
		require.Contains(t, c.says.String(), k.Name)
		require.Contains(t, env, k.Variable)
		require.False(t, running(t, dir, k))
		require.Error(t, k.Check(t.Context(), env[k.Variable]))
	}
}

func TestWhatTheCallerSetWinsAndIsKeptInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := localstack(t, dir, []string{"PORT=8123", "SECRET_KEY=mine"}, "run", "--fast", "--", "env")
	require.Zero(t, c.run(t))
	for _, line := range []string{"PORT=8123", "SECRET_KEY=mine", "RABBITMQ_URL=" + servertest.Env(t, "RABBITMQ_URL")} {
		require.Contains(t, lines(c.out.String()), line)
	}
	require.Equal(t, "mine", readEnv(t, dir)["SECRET_KEY"])
	require.NoDirExists(t, filepath.Join(dir, "rabbitmq"), "nothing is started for a URL that is given")
}

func TestUpStaysUntilDown(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	require.Zero(t, localstack(t, dir, private, "up", "--fast").run(t))
	before := readEnv(t, dir)

	began := time.Now()
	run := localstack(t, dir, private, "run", "--no-env-file", "--", "true")
	require.Zero(t, run.run(t))
	t.Logf("re-use took %v", time.Since(began))
	require.Contains(t, run.says.String(), "already up")
	require.True(t, running(t, dir, servers.Redis))

	status := localstack(t, dir, nil, "status")
	require.Zero(t, status.run(t))
	require.Regexp(t, `postgres +\d+\.\d+ +127\.0\.0\.1:\d+ +\d+ +up\n`, status.out.String())
	require.Regexp(t, `rabbitmq +- +- +- +not running\n`, status.out.String())

	require.Zero(t, localstack(t, dir, nil, "down").run(t))
	require.False(t, running(t, dir, servers.Redis))
	require.Zero(t, localstack(t, dir, private, "up", "--fast").run(t))
	require.Equal(t, before, readEnv(t, dir), "ports, passwords and secret are kept")

	foreign := filepath.Join(dir, "foreign")
	require.NoError(t, os.WriteFile(foreign, nil, 0o600))
	require.Zero(t, localstack(t, dir, nil, "clean").run(t))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "only what is ours is deleted")
	require.NoError(t, os.Remove(foreign))
	require.Zero(t, localstack(t, dir, nil, "clean").run(t))
	require.NoDirExists(t, dir)
}

func TestLastOfConcurrentRunsStopsTheServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	waiting := []string{"run", "--fast", "--", "sh", "-c", "echo $REDIS_URL; exec cat"}
	var calls [2]*call
	for n := range calls {
		calls[n] = localstack(t, dir, nil, waiting...)
		end, err := calls[n].StdinPipe()
		require.NoError(t, err)
		require.NoError(t, calls[n].Start())
		defer end.Close()
	}
	for _, c := range calls {
		require.Eventually(t, func() bool { return c.out.String() != "" }, 30*time.Second, 5*time.Millisecond)
	}
	require.Equal(t, calls[0].out.String(), calls[1].out.String())

	require.NoError(t, calls[0].Process.Signal(syscall.SIGTERM))
	require.Equal(t, 128+15, calls[0].wait(t))
	require.True(t, running(t, dir, servers.Redis))
	require.NoError(t, calls[1].Process.Signal(syscall.SIGTERM))
	require.Equal(t, 128+15, calls[1].wait(t))
	require.False(t, running(t, dir, servers.Redis))
}

func TestServersOfAKilledRunAreTakenOverAndStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mark := filepath.Join(t.TempDir(), "told")
	killed := localstack(t, dir, private, "run", "--fast", "--", "sh", "-c",
		"trap 'touch "+mark+"; exit' TERM; echo up; while :; do sleep 0.05; done")
	killed.start(t)
	require.NoError(t, killed.Process.Kill())
	require.Eventually(t, func() bool { _, err := os.Stat(mark); return err == nil }, 10*time.Second, 10*time.Millisecond,
		"the command is told to end")
	killed.wait(t)
	require.True(t, running(t, dir, servers.Postgres))

	next := localstack(t, dir, private, "run", "--", "true")
	require.Zero(t, next.run(t))
	require.Contains(t, next.says.String(), "already up")
	require.False(t, running(t, dir, servers.Postgres))
	require.False(t, running(t, dir, servers.Redis))
}

func TestInterruptReachesTheCommandOnceAndTheServersOutliveIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := localstack(t, dir, nil, "run", "--fast", "--", "bash", "-c", `
		trap 'echo interrupted; n=$((n+1))' INT
		echo up
		while [ -z "$n" ]; do sleep 0.05; done
		sleep 0.2
		(exec 3<>/dev/tcp/127.0.0.1/$(echo $REDIS_URL | grep -oE '[0-9]+/0' | cut -d/ -f1)) && echo redis is up
		exit 9`)
	c.start(t)
	require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGINT))
	require.Equal(t, 9, c.wait(t))
	require.Equal(t, "up\ninterrupted\nredis is up\n", c.out.String())
	require.False(t, running(t, dir, servers.Redis))
}

func TestCommandThatDoesNotExistHasTheShellsExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := localstack(t, dir, nil, "run", "--fast", "--", "no-such-command-here")
	require.Equal(t, 127, c.run(t))
	require.False(t, running(t, dir, servers.Redis))
}

func TestCallKilledAtAnyMomentLeavesNothingUnknown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for delay := 20 * time.Millisecond; delay < time.Second; delay = delay * 5 / 4 {
		c := localstack(t, dir, private, "run", "--fast", "--", "true")
		require.NoError(t, c.Start())
		time.Sleep(delay) // the moment to kill at, not a wait
		require.NoError(t, c.Process.Kill())
		_ = c.Wait()
	}
	require.Zero(t, localstack(t, dir, nil, "down").run(t))
	require.Eventually(t, func() bool { return len(processesIn(dir)) == 0 }, 10*time.Second, 10*time.Millisecond, "%v", dir)
	require.Zero(t, localstack(t, dir, private, "run", "--fast", "--", "true").run(t))
}

// processesIn finds the processes with their working directory in the data of a state folder.
func processesIn(dir string) (found []string) {
	homes := []string{dir}
	for _, k := range servers.Kinds {
		var rec struct{ Elsewhere string }
		_ = servers.ReadJSON(filepath.Join(dir, k.Name, "server.json"), &rec)
		homes = append(homes, rec.Elsewhere)
	}
	entries, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, entry := range entries {
		cwd, _ := os.Readlink(entry)
		for _, home := range homes {
			if home != "" && strings.HasPrefix(cwd, home) {
				found = append(found, entry)
			}
		}
	}
	return found
}
