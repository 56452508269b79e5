package postgres

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// begunLater gives both ends of a connection on which lib/pq has begun a transaction, as it believes.
func begunLater(t *testing.T) (conn *beginLater, server net.Conn) {
	t.Helper()
	client, server := net.Pipe() // a write waits for its reader: what is written here is held
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	conn = &beginLater{Conn: client}
	n, err := conn.Write(beginOfPq)
	require.NoError(t, err)
	require.Equal(t, len(beginOfPq), n)
	require.Equal(t, string(begun), read(t, conn, len(begun)))
	return conn, server
}

func read(t *testing.T, from io.Reader, n int) string {
	t.Helper()
	buf := make([]byte, n)
	_, err := io.ReadFull(from, buf)
	require.NoError(t, err)
	return string(buf)
}

// exchange has conn send statement, and the server answer what it has received with answer.
func exchange(t *testing.T, conn, server net.Conn, statement, received, answer string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if n, err := conn.Write([]byte(statement)); err != nil || n != len(statement) {
			t.Errorf("%d bytes written, %v", n, err)
		}
	}()
	require.Equal(t, received, read(t, server, len(received)))
	<-done
	go func() { _, _ = server.Write([]byte(answer)) }()
}

func TestBeginIsSentWithTheStatementAfterItAndItsAnswerLeftOut(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "first", string(beginSent)+"first", string(begun)+"answer")
	require.Equal(t, "answer", read(t, conn, 6))
	exchange(t, conn, server, "second", "second", "another")
	require.Equal(t, "another", read(t, conn, 7))
	_, err := conn.Write(beginOfPq) // the next transaction
	require.NoError(t, err)
	require.Equal(t, string(begun), read(t, conn, len(begun)))
	exchange(t, conn, server, "third", string(beginSent)+"third", string(begun)+"last")
	require.Equal(t, "last", read(t, conn, 4))
}

func TestUnexpectedAnswerToABeginIsPassedOn(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	refusal := "E: the database system is shutting down"
	exchange(t, conn, server, "first", string(beginSent)+"first", refusal)
	require.Equal(t, refusal, read(t, conn, len(refusal)))
}

func TestServerThatHangsUpOnABeginIsAnError(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "first", string(beginSent)+"first", "short")
	_ = read(t, server, 0)
	go func() { _ = server.Close() }()
	_, err := conn.Read(make([]byte, 64))
	require.Error(t, err)
}
