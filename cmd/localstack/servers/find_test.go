package servers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionsAreComparedByTheirNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"15.18", "15", 1}, {"15", "15.0", 0}, {"9.6", "15", -1}, {"3.10.8", "3.9.13", 1},
		{"15+248+deb12u1", "15", 0}, {"7.0.15-1~deb12u10", "7.0", 1}, {"6.0.16", "7.0", -1}, {"", "7.0", -1}, {"18beta1", "17", 1},
	} {
		require.Equal(t, c.want, compareVersions(c.a, c.b), "%s ? %s", c.a, c.b)
	}
}

func TestFindPrefersTheSeriesOfTheDataAndRefusesOldVersions(t *testing.T) {
	k := *Postgres
	k.candidates = func() []Binary { return []Binary{{"/a", "14.9"}, {"/b", "15.4"}, {"/c", "17.1"}} }
	for series, want := range map[string]string{"": "/c", "15": "/b", "14": "/c", "16": "/c"} {
		b, err := k.Find(series)
		require.NoError(t, err)
		require.Equal(t, want, b.Path, "series %q", series)
	}
	k.candidates = func() []Binary { return []Binary{{"/a", "14.9"}} }
	_, err := k.Find("14")
	require.EqualError(t, err, "postgres 14.9 in /a is older than 15")
	k.candidates = func() []Binary { return nil }
	_, err = k.Find("")
	require.EqualError(t, err, "postgres is not installed")
}

func TestPortsAreDistinctAndBelowTheEphemeralOnes(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		for _, port := range ChoosePorts("a", "b") {
			require.Less(t, port, 32768)
			require.Greater(t, port, 1024)
			require.False(t, seen[port])
			seen[port] = true
		}
	}
}

func TestWrongURLIsToldInOneLineWithoutThePassword(t *testing.T) {
	t.Parallel()
	for k, urls := range map[*Kind][]string{
		Postgres: {"postgres://me:hunter2@127.0.0.1:1/x", "host=127.0.0.1 port=1 password=hunter2", "postgres://me:hunter2%zz@h/x", "postgres://me:hunter2@127.0.0.1:x/"},
		Redis:    {"redis://:hunter2@127.0.0.1:1", "hunter2", "http://:hunter2@127.0.0.1", "redis://:hunter2@127.0.0.1:1?db=hunter2"},
		RabbitMQ: {"amqp://me:hunter2@127.0.0.1:1", "http://me:hunter2@h", "amqp://me:hunter2@h:port"},
	} {
		for _, url := range urls {
			err := k.Check(t.Context(), url)
			require.Error(t, err, url)
			require.NotContains(t, err.Error(), "hunter2", url)
			require.NotContains(t, err.Error(), "\n", url)
		}
	}
}

// fakeTool puts a shell script in front of everything else on the PATH.
func fakeTool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestPackagesThatAreTooOldAreNotInstalled(t *testing.T) {
	fakeTool(t, "apt-cache", `case $2 in
		redis-server) printf 'redis-server:\n  Installed: (none)\n  Candidate: 5:6.0.16-1ubuntu1\n';;
		rabbitmq-server) printf 'rabbitmq-server:\n  Installed: (none)\n  Candidate: 3.12.1-1\n';;
		esac`)
	a := apt{report: func(string) {}}
	require.EqualError(t, a.offers(t.Context(), []*Kind{Redis}), "apt offers redis-server 6.0.16-1ubuntu1, but 7.0 or newer is needed")
	require.EqualError(t, a.offers(t.Context(), []*Kind{Postgres}), "apt offers no package postgresql")
	require.NoError(t, a.offers(t.Context(), []*Kind{RabbitMQ}))
}

func TestAptGetWaitsForAnotherOne(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	fakeTool(t, "apt-get", `test -e `+mark+` && echo fine $@ && exit 0
		touch `+mark+`; echo "E: Could not get lock /var/lib/apt/lists/lock"; exit 100`)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer log.Close()
	var said []string
	a := apt{log: log, report: func(s string) { said = append(said, s) }}
	require.NoError(t, a.update(t.Context()))
	text, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	require.Contains(t, string(text), "fine update")
	require.Equal(t, "waiting for another apt-get", said[len(said)-1])

	fakeTool(t, "apt-get", "echo something else; echo E: no network; exit 100")
	err = a.install(t.Context(), []*Kind{Redis})
	require.EqualError(t, err, "apt-get install: exit status 100: E: no network")
}
