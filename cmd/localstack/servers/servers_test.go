package servers

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// start makes a server ready that is removed with the test.
func start(t *testing.T, k *Kind, dir string) *Instance {
	t.Helper()
	i, err := k.Start(t.Context(), Options{Dir: dir, Fast: true, Report: func(s string) { t.Log(k.Name, s) }})
	if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Remove()) })
	return i
}

func TestServerKeepsPortsAndDataOverStopAndCrash(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			i := start(t, k, dir)
			require.False(t, i.Reused)
			require.NoError(t, k.Check(t.Context(), i.URL))
			put(t, i)

			again := start(t, k, dir)
			require.True(t, again.Reused)
			require.Equal(t, i.PID(), again.PID())
			require.Equal(t, i.URL, again.URL)

			require.NoError(t, i.Stop(t.Context()))
			require.False(t, i.Running())
			require.True(t, free(i.rec.Ports))
			require.Error(t, k.Check(t.Context(), i.URL))

			after := start(t, k, dir)
			require.False(t, after.Reused)
			require.Equal(t, i.URL, after.URL)
			require.Equal(t, i.ManagementURL, after.ManagementURL)
			get(t, after)

			require.NoError(t, after.Kill())
			require.False(t, after.Running())
			require.True(t, free(i.rec.Ports))
			require.NoError(t, after.Restart(t.Context()))
			require.NoError(t, k.Check(t.Context(), i.URL))
			get(t, after)
		})
	}
}

// put leaves something in a server that keeps data, and get finds it.
func put(t *testing.T, i *Instance) {
	t.Helper()
	switch i.kind {
	case Postgres:
		db, err := sql.Open("postgres", i.URL)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec("CREATE TABLE kept (n int)")
		require.NoError(t, err)
	case RabbitMQ:
		ch := channel(t, i)
		_, err := ch.QueueDeclare("kept", true, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, ch.Confirm(false))
		confirmed, err := ch.PublishWithDeferredConfirm("", "kept", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
		require.NoError(t, err)
		require.True(t, confirmed.Wait())
	}
}

func get(t *testing.T, i *Instance) {
	t.Helper()
	switch i.kind {
	case Postgres:
		db, err := sql.Open("postgres", i.URL)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec("SELECT n FROM kept")
		require.NoError(t, err)
	case RabbitMQ:
		q, err := channel(t, i).QueueDeclarePassive("kept", true, false, false, false, nil)
		require.NoError(t, err)
		require.Equal(t, 1, q.Messages)
		require.NoError(t, i.Control(t.Context(), "ping"))
	}
}

func channel(t *testing.T, i *Instance) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(i.URL)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

func TestPortTakenWhileDownIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := start(t, Redis, dir)
	require.NoError(t, i.Stop(t.Context()))
	other, err := net.Listen("tcp", i.Addr)
	require.NoError(t, err)
	defer other.Close()

	require.NotEqual(t, i.Addr, start(t, Redis, dir).Addr)
}

func TestPortTakenDuringTheStartIsReplaced(t *testing.T) {
	t.Parallel()
	taken := ""
	unlucky := *Redis
	unlucky.prepare = func(ctx context.Context, i *Instance) error {
		if taken == "" {
			taken = i.Addr
			if other, err := net.Listen("tcp", taken); err == nil { // or somebody else has just taken it
				t.Cleanup(func() { other.Close() })
			}
		}
		return Redis.prepare(ctx, i)
	}
	require.NotEqual(t, start(t, &unlucky, t.TempDir()).Addr, taken)
}

func TestDescriptorsOfTheCallerAreNotInherited(t *testing.T) {
	var pipe [2]int
	require.NoError(t, syscall.Pipe(pipe[:])) // unlike os.Pipe inheritable
	start(t, Redis, t.TempDir())
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(pipe[1]), syscall.F_GETFD, 0)
	require.Zero(t, errno)
	require.Zero(t, flags&syscall.FD_CLOEXEC, "left inheritable for others")

	require.NoError(t, syscall.Close(pipe[1]))
	require.NoError(t, syscall.SetNonblock(pipe[0], true))
	r := os.NewFile(uintptr(pipe[0]), "pipe")
	defer r.Close()
	require.NoError(t, r.SetReadDeadline(time.Now().Add(5*time.Second)))
	n, err := r.Read(make([]byte, 1))
	require.Zero(t, n)
	require.EqualError(t, err, "EOF", "somebody still holds the other end")
}

func TestFolderOutOfReachIsReplacedByATemporaryOne(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root runs servers under another account")
	}
	closed := t.TempDir()
	require.NoError(t, os.Chmod(closed, 0o700))
	dir := filepath.Join(closed, "redis")
	i := start(t, Redis, dir)
	require.NotEmpty(t, i.rec.Elsewhere)
	require.Equal(t, i.rec.Elsewhere, start(t, Redis, dir).rec.Elsewhere)
	require.NoError(t, i.Remove())
	require.NoDirExists(t, i.rec.Elsewhere)
	require.NoDirExists(t, dir)
}

func TestFolderThatAKilledCallHalfMadeIsNotForgotten(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root runs servers under another account")
	}
	dir := t.TempDir()
	i, err := Redis.Open(dir)
	require.NoError(t, err)
	half := filepath.Join(t.TempDir(), "half")
	require.NoError(t, os.MkdirAll(filepath.Join(half, "data"), 0o700))
	i.rec.Secret, i.rec.Elsewhere = Secret(), half
	require.NoError(t, i.save())

	require.NotEqual(t, half, start(t, Redis, dir).rec.Elsewhere)
	require.NoDirExists(t, half)
}

func TestFolderWithinReachIsUsed(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "servers-") //nolint:usetesting // t.TempDir is closed to other accounts
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	i := start(t, Redis, dir)
	require.Empty(t, i.rec.Elsewhere)
	require.FileExists(t, filepath.Join(dir, "data", "redis.conf"))
}

func TestDataOfAnotherSeriesIsSetAside(t *testing.T) {
	t.Parallel()
	keeping := *Redis
	keeping.series = func(version string) string { return firstParts(version, 1) }
	dir := t.TempDir()
	i := start(t, &keeping, dir)
	require.NoError(t, os.WriteFile(filepath.Join(i.data(), "precious"), nil, 0o600))
	require.NoError(t, i.Stop(t.Context()))
	i = start(t, &keeping, dir)
	require.FileExists(t, filepath.Join(i.data(), "precious"))

	require.NoError(t, i.Stop(t.Context()))
	i.rec.Version = "6.2"
	require.NoError(t, i.save())
	i = start(t, &keeping, dir)
	require.NoFileExists(t, filepath.Join(i.data(), "precious"))
	require.FileExists(t, filepath.Join(i.data()+".redis-6", "precious"))
}

func TestInterruptedStartLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	endless := *Redis
	endless.login = func(context.Context, *Instance) error {
		cancel()
		return errors.New("not yet")
	}
	dir := t.TempDir()
	_, err := endless.Start(ctx, Options{Dir: dir})
	if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	require.ErrorIs(t, err, context.Canceled)
	i, err := Redis.Open(dir)
	require.NoError(t, err)
	require.False(t, i.Leftover())
	require.Empty(t, i.rec.Processes)
	require.False(t, i.rec.Last.Alive())
	require.NoError(t, i.Remove())
}

func TestFailedStartShowsTheLog(t *testing.T) {
	t.Parallel()
	broken := *Redis
	broken.prepare = func(ctx context.Context, i *Instance) error {
		_, err := i.writeOwned("redis.conf", "nonsense 1\n")
		return err
	}
	dir := t.TempDir()
	_, err := broken.Start(t.Context(), Options{Dir: dir})
	if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	require.ErrorContains(t, err, "Bad directive")
	i, err := broken.Open(dir)
	require.NoError(t, err)
	require.NoError(t, i.Remove())
}
