package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/servertest"
)

var binaryDir string

func TestMain(m *testing.M) {
	status := m.Run()
	wholeRun.end()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(status)
}

// binary builds the program once.
var binary = sync.OnceValues(func() (path string, err error) {
	if binaryDir, err = os.MkdirTemp("", "user-service-test-"); err != nil {
		return "", err
	}
	path = filepath.Join(binaryDir, "user-service")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// process is the service as its operators run it.
type process struct {
	*instance
	cmd    *exec.Cmd
	output *bytes.Buffer
}

func (s *stack) environment(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SECRET_KEY=" + string(s.config.SecretKey), "DATABASE_URL=" + s.config.DatabaseURL,
		"REDIS_URL=" + s.config.RedisURL, "RABBITMQ_URL=" + s.config.RabbitMQURL, "PUSH_PROVIDER=webhook", "PUSH_WEBHOOK_URL=" + s.provider.server.URL,
		"PUSH_RETRY_STEPS=200ms,400ms", "RATE_LIMIT=off",
	}, more...)
}

// run starts `user-service serve` and waits until it is healthy.
func (s *stack) run(t *testing.T, more ...string) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	port, metrics := freePort(t), freePort(t)
	p := &process{
		instance: &instance{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port)},
		cmd:      exec.Command(path, "serve"), output: new(bytes.Buffer),
	}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = s.environment(append([]string{"PORT=" + strconv.Itoa(port), "METRICS_PORT=" + strconv.Itoa(metrics)}, more...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
	})
	servertest.Eventually(t, func() bool {
		resp, err := http.Get(p.base + "/api/v1/health/")
		if err != nil {
			return false // nobody listens, or nobody serves yet
		}
		_ = resp.Body.Close()
		status, _ := p.health()
		return status == "healthy"
	}, "the service is healthy")
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestProcessesForHashesEndWithTheService, also when it has no time to end them.
func TestProcessesForHashesEndWithTheService(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	gone := func(pid int) bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") // whoever inherited it has not looked yet
	}
	for _, end := range []func(*process){(*process).kill, func(p *process) {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, p.cmd.Wait())
	}} {
		p := s.run(t)
		p.register()
		pid := p.child()
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
		p.register()
		require.False(t, gone(pid), "it heeds no signal: the service may be about to finish its work")
		end(p)
		servertest.Eventually(t, func() bool { return gone(pid) }, "the process is gone")
	}
}

// child is the only process that this one has started.
func (p *process) child() (pid int) {
	p.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	var children string
	for _, thread := range threads {
		listed, err := os.ReadFile(thread)
		require.NoError(p.t, err)
		children += string(listed)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(children))
	require.NoError(p.t, err, "one password at a time needs one process: %q", children)
	return pid
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func TestKilledServiceLosesNoMessageAndNoEvent(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t)
	b := s.broker(t)
	listening := b.listen()
	k := p.register()
	// The provider holds its answers until the first process is dead: all it has taken is in the works.
	taken, release := s.provider.holds()
	const messages = 40
	ids := map[string]bool{}
	for range messages {
		id := uuid.NewString()
		ids[id] = true
		b.push(pushBody(k.id(), id))
	}
	db := s.open(t)
	servertest.Eventually(t, func() bool {
		return len(taken) == 32 && count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sending'`) == messages
	}, "as many as may be are at the provider, and the others are reserved")
	require.Equal(t, 200, p.call("PATCH", "/api/v1/users/me/", k.AccessToken, map[string]any{"name": "Before the end"}).Status)
	p.kill()
	close(release)
	s.provider.answers(nil)

	// What the dead process had reserved is free when its lease is over; the test need not wait that long.
	_, err := db.Exec(t.Context(), `UPDATE push.deliveries SET lease_until = now() WHERE status = 'sending'`)
	require.NoError(t, err)
	s.run(t)
	sent := func() map[string]int {
		outcomes := map[string]int{}
		for _, e := range distinct(listening.of(k.id(), "push.sent")) {
			outcomes[e.Data["request_id"].(string)]++
		}
		return outcomes
	}
	servertest.Eventually(t, func() bool { return len(sent()) == messages }, "an outcome of each message")
	for id, outcomes := range sent() {
		require.True(t, ids[id])
		require.Equal(t, 1, outcomes, "one outcome of each")
		require.LessOrEqual(t, len(s.provider.received(id)), 2, "sent again once at the most")
	}
	servertest.Eventually(t, func() bool { return len(distinct(listening.of(k.id(), "user.profile_updated"))) == 1 }, "the event of the last change")
	require.Zero(t, b.length("failed.queue"))
}

func TestSIGTERMFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t)
	b := s.broker(t)
	listening := b.listen()
	k := p.register()
	taken, release := s.provider.holds()
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	<-taken
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	servertest.Eventually(t, func() bool {
		_, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		return err != nil
	}, "no new connections")
	close(release)
	require.NoError(t, p.cmd.Wait(), "%s", p.output)
	require.Len(t, s.provider.received(id), 1)
	require.Zero(t, b.length("push.queue"))

	s.run(t) // whatever is left in the outbox goes out
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "the outcome of the message in flight")
	require.Len(t, s.provider.received(id), 1)
}

// command runs the program to its end.
func (s *stack) command(t *testing.T, environment []string, args ...string) (output string, status int) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = t.TempDir(), environment
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestWrongSettingsStopTheStartWithALineForEach(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	out, status := s.command(t, []string{"PORT=http"}, "serve")
	require.Equal(t, 1, status)
	require.Equal(t, []string{
		`user-service: PORT is "http"; accepted: a whole number from 0 to 65535`,
		`user-service: SECRET_KEY is missing; accepted: at least 32 random bytes, or DEBUG=true for a generated one`,
	}, strings.Split(strings.TrimSpace(out), "\n"))
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	taken, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	out, status := s.command(t, s.environment("PORT="+strconv.Itoa(taken.Addr().(*net.TCPAddr).Port), "METRICS_PORT=0"), "serve")
	require.Equal(t, 1, status)
	require.Contains(t, out, "user-service: PORT: listen tcp")
}

func TestMigrateGoesUpAndDownAndTwoAtOnceAgree(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	files, err := fs.Glob(migrations.Files, "*.sql")
	require.NoError(t, err)
	steps := len(files)
	for range steps {
		out, status := s.command(t, s.environment(), "migrate", "down")
		require.Zero(t, status, out)
	}
	out, status := s.command(t, s.environment("METRICS_PORT=0", "PORT=0"), "serve")
	require.Equal(t, 1, status)
	require.Contains(t, out, "user-service migrate up")
	out, _ = s.command(t, s.environment(), "migrate", "status")
	require.Equal(t, steps, strings.Count(out, "missing"), out)

	var both sync.WaitGroup
	outputs := [2]string{}
	for n := range outputs {
		both.Go(func() {
			out, status := s.command(t, s.environment(), "migrate", "up")
			require.Zero(t, status, out)
			outputs[n] = out
		})
	}
	both.Wait()
	require.Equal(t, steps, strings.Count(outputs[0]+outputs[1], "applied "), "each step once")
	out, _ = s.command(t, s.environment(), "migrate", "status")
	require.Equal(t, steps, strings.Count(out, "applied"), out)
}

func TestPartsServeAlone(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	path, err := binary()
	require.NoError(t, err)
	var api *instance
	for _, part := range [][]string{{"serve", "--only", "api"}, {"consume"}, {"serve", "--only", "relay"}} {
		port, metrics := freePort(t), freePort(t)
		cmd := exec.CommandContext(t.Context(), path, part...)
		cmd.Dir, cmd.Env = t.TempDir(), s.environment("PORT="+strconv.Itoa(port), "METRICS_PORT="+strconv.Itoa(metrics))
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Wait() })
		servertest.Eventually(t, func() bool {
			_, status := s.command(t, []string{"METRICS_PORT=" + strconv.Itoa(metrics)}, "health")
			return status == 0
		}, "%v is healthy", part)
		if api == nil {
			api = &instance{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
		}
	}
	b := s.broker(t)
	listening := b.listen()
	k := api.register()
	b.push(pushBody(k.id(), uuid.NewString()))
	servertest.Eventually(t, func() bool {
		return len(listening.of(k.id(), "user.registered", "push.sent")) == 2
	}, "api, consumer and relay work together")
}

func TestEveryCommandHelpsWithAnExample(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for _, command := range [][]string{{}, {"serve"}, {"consume"}, {"migrate"}, {"migrate", "up"}, {"migrate", "down"}, {"migrate", "status"}, {"health"}, {"version"},
		{"createsuperuser"}, {"service-key"}, {"service-key", "create"}, {"service-key", "list"}, {"service-key", "revoke"}, {"import-django"}} {
		out, status := s.command(t, nil, append(command, "--help")...)
		require.Zero(t, status, command)
		require.Contains(t, strings.Join(strings.Fields(out), " "), "Example: user-service", "%v: %s", command, out)
	}
}
