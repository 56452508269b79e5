package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// commandWith is command with something on standard input.
func (s *stack) commandWith(t *testing.T, input string, args ...string) (output string, status int) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = t.TempDir(), s.environment(), strings.NewReader(input)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestSuperuserIsAVerifiedMemberOfTheStaffEverywhere(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	out, status := s.commandWith(t, goodPassword+"\n", "createsuperuser", "--email", "Root@Example.com", "--name", "Root", "--password-stdin")
	require.Zero(t, status, out)
	require.NotContains(t, out, goodPassword)

	r := i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": "root@example.com", "password": goodPassword})
	require.Equal(t, 200, r.Status, r.Message)
	var k tokens
	r.into(t, &k)
	require.Contains(t, out, k.id())
	for flag := range strings.FieldsSeq("is_staff is_active email_verified") {
		require.Equal(t, true, k.User[flag], flag)
	}
	require.Equal(t, map[string]any{"email": true, "push": true}, k.User["preferences"])
	db := s.open(t)
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.accounts WHERE is_staff AND email_verified`))
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM push.recipients WHERE user_id = $1`, k.id()))
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.audit_log WHERE action = 'superuser_created' AND account_id = $1 AND actor = 'operator'`, k.id()))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.registered")) == 1 }, "the world is told")
}

func TestSuperuserFollowsTheRulesOfARegistration(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	out, status := s.commandWith(t, "1234567", "createsuperuser", "--email", "nowhere", "--name", " ", "--password-stdin")
	require.Equal(t, 1, status)
	require.Equal(t, []string{
		"user-service: email: Enter a valid email address.",
		"user-service: name: This field may not be blank.",
		"user-service: password: This password is too short. It must contain at least 8 characters.",
		"user-service: password: This password is entirely numeric.",
	}, strings.Split(strings.TrimSpace(out), "\n"))

	args := []string{"createsuperuser", "--email", "root@example.com", "--name", "Root", "--password-stdin"}
	out, status = s.commandWith(t, goodPassword, args...)
	require.Zero(t, status, out)
	args[2] = "ROOT@example.com"
	out, status = s.commandWith(t, goodPassword, args...)
	require.Equal(t, 1, status)
	require.Equal(t, "user-service: email: A user with this email already exists.\n", out)
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM profile.users`))
}

func TestSuperuserWithNobodyToAskNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	out, status := s.commandWith(t, "", "createsuperuser")
	require.Equal(t, 1, status)
	require.Equal(t, "user-service: nobody can be asked for what is missing: --email, --name, --password-stdin\n", out)
	out, status = s.commandWith(t, "", "createsuperuser", "--email", "a@example.com", "--name", "A", "--password-stdin")
	require.Equal(t, 1, status)
	require.Contains(t, out, "standard input holds no password")
}

func TestOperatorsAreToldOfADatabaseThatIsNotUpToDate(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, status := s.command(t, s.environment(), "migrate", "down")
	require.Zero(t, status)
	out, status := s.commandWith(t, "", "service-key", "list")
	require.Equal(t, 1, status)
	require.Contains(t, out, "user-service migrate up")
}

func TestOperatorsNeedTheDatabaseOnly(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.config.RedisURL, s.config.RabbitMQURL = "redis://127.0.0.1:1/0", "amqp://127.0.0.1:1/"
	out, status := s.commandWith(t, goodPassword, "createsuperuser", "--email", "root@example.com", "--name", "Root", "--password-stdin")
	require.Zero(t, status, out)
	require.Equal(t, 1, strings.Count(out, "\n"), "and complain of nothing: %s", out)
	out, status = s.command(t, []string{"DATABASE_URL=" + s.config.DatabaseURL}, "service-key", "create", "email-service")
	require.Zero(t, status, out)
}

// terminal is a command at a terminal.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys *os.File
	mu   sync.Mutex
	seen bytes.Buffer
}

func (s *stack) atTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	c := &terminal{t: t, cmd: exec.CommandContext(t.Context(), path, args...)}
	c.cmd.Dir, c.cmd.Env = t.TempDir(), s.environment("TERM=xterm")
	c.keys, err = pty.Start(c.cmd)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.keys.Close() })
	go func() { _, _ = io.Copy(c, c.keys) }()
	return c
}

// Write notes what the terminal shows.
func (c *terminal) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.Write(p)
}

func (c *terminal) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

// expect waits for a text on the screen, and answers.
func (c *terminal) expect(text, answer string) {
	c.t.Helper()
	servertest.Eventually(c.t, func() bool { return strings.Contains(c.screen(), text) }, "%q on the screen", text)
	if answer != "" {
		_, err := io.WriteString(c.keys, answer)
		require.NoError(c.t, err)
	}
}

func TestSuperuserIsAskedForWhatIsMissingAndThePasswordIsNotShown(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.atTerminal(t, "createsuperuser", "--name", "Root")
	c.expect("Email: ", "root@example.com\r")
	c.expect("Password: ", goodPassword+"\r")
	c.expect("Password (again): ", goodPassword+"\r")
	require.NoError(t, c.cmd.Wait())
	c.expect("created the superuser", "")
	require.NotContains(t, c.screen(), "Name: ", "it was given")
	require.NotContains(t, c.screen(), goodPassword)
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM auth.accounts WHERE email = 'root@example.com' AND is_staff`))
}

func TestSuperuserIsNotMadeOfTwoPasswordsOrWhenGivenUp(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.atTerminal(t, "createsuperuser", "--name", "Root", "--email", "root@example.com")
	c.expect("Password: ", goodPassword+"\r")
	c.expect("Password (again): ", goodPassword+"!\r")
	require.Error(t, c.cmd.Wait())
	c.expect("the two passwords differ", "")

	for name, giveUp := range map[string]func(*terminal){
		"Ctrl-C":  func(c *terminal) { c.expect("Password: ", "\x03") },
		"SIGTERM": func(c *terminal) { require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM)) },
	} {
		c = s.atTerminal(t, "createsuperuser", "--name", "Root", "--email", "root@example.com")
		c.expect("Password: ", "")
		giveUp(c)
		require.Error(t, c.cmd.Wait(), name)
		c.expect("given up", "")
	}
	require.Zero(t, count(t, s.open(t), `SELECT count(*) FROM auth.accounts`))
}
