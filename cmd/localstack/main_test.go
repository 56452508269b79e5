package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/cmd/localstack/servers"
	"user-service/platform/servertest"
)

// The test binary stands in for the command: with this variable set it behaves like it.
const asCommand = "LOCALSTACK_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Unsetenv(asCommand)
		main()
	}
	os.Exit(m.Run())
}

// private leaves the database to the call.
var private = []string{"DATABASE_URL="}

func skipIfMissing(t *testing.T, err error) {
	t.Helper()
	if missing := (*servers.NotFoundError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
}

// call is one run of the command.
type call struct {
	*exec.Cmd
	out  locked // what the command it ran said
	says locked // what it said itself
}

// locked can be read while a process writes to it.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

var _ io.Writer = (*locked)(nil)

// localstack prepares a call on a state folder that is cleaned with the test. Unless env says otherwise
// all is given but Redis, which starts in no time.
func localstack(t *testing.T, dir string, env []string, args ...string) *call {
	t.Helper()
	_, err := servers.Redis.Find("")
	skipIfMissing(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	c := &call{Cmd: exec.Command(self, append([]string{"--state", dir}, args...)...)}
	c.Env = append(os.Environ(), asCommand+"=1", "DATABASE_URL="+servertest.Env(t, "DATABASE_URL"), "REDIS_URL=", "RABBITMQ_URL="+servertest.Env(t, "RABBITMQ_URL"),
		"RABBITMQ_MANAGEMENT_URL=", "PORT=", "SECRET_KEY=")
	c.Env = append(c.Env, env...)
	c.Stdout, c.Stderr = &c.out, &c.says
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, and a group that can be signalled
	c.WaitDelay = 10 * time.Second
	t.Cleanup(func() {
		s := &stack{dir: dir, out: &progress{w: io.Discard}}
		require.NoError(t, s.clean(context.Background()))
	})
	return c
}

// run returns the exit code.
func (c *call) run(t *testing.T) int {
	t.Helper()
	require.NoError(t, c.Start())
	return c.wait(t)
}

func (c *call) wait(t *testing.T) int {
	t.Helper()
	err := c.Wait()
	t.Logf("%v\n%s%s", c.Args[1:], c.says.String(), c.out.String())
	if exit := (*exec.ExitError)(nil); err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return c.ProcessState.ExitCode()
}

// start starts the call and waits until its command says something.
func (c *call) start(t *testing.T) {
	t.Helper()
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill() })
	require.Eventually(t, func() bool { return c.out.String() != "" }, 30*time.Second, 5*time.Millisecond, "%v", &c.says)
}

// running tells whether a server of a state folder runs.
func running(t *testing.T, dir string, k *servers.Kind) bool {
	t.Helper()
	i, err := k.Open(filepath.Join(dir, k.Name))
	require.NoError(t, err)
	return i.Ready(t.Context()) == nil
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func readEnv(t *testing.T, dir string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	require.NoError(t, err)
	env := map[string]string{}
	for _, line := range lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	return env
}
