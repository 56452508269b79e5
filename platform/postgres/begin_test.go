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
	requireBegun(t, conn)
	return conn, server
}

func requireBegun(t *testing.T, conn *beginLater) {
	t.Helper()
	want := string(begun) + string(ready)
	require.Equal(t, want, read(t, conn, len(want)))
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
	if answer != "" {
		go func() { _, _ = server.Write([]byte(answer)) }()
	}
}

// Answers of the server, and what it says at any time.
const (
	answer  = "2\x00\x00\x00\x04" + "C\x00\x00\x00\x0dSELECT 1\x00" + "Z\x00\x00\x00\x05T"
	setting = "S\x00\x00\x00\x12TimeZone\x00UTC\x00\x00"
	failure = "E\x00\x00\x00\x0fC57014\x00text\x00" + "Z\x00\x00\x00\x05I"
)

var (
	asPart  = string(parseComplete) + string(bindComplete) + string(begun)
	asWhole = asPart + string(ready)
)

func TestBeginIsSentWithTheStatementAfterItAndItsAnswerLeftOut(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "Bound", string(beginAsPart)+"Bound", asPart+answer)
	require.Equal(t, answer, read(t, conn, len(answer)))
	exchange(t, conn, server, "second", "second", answer)
	require.Equal(t, answer, read(t, conn, len(answer)))
	_, err := conn.Write(beginOfPq) // the next transaction
	require.NoError(t, err)
	requireBegun(t, conn)
	exchange(t, conn, server, "Query", string(beginAsPart)+string(syncNow)+"Query", asWhole+answer)
	require.Equal(t, answer, read(t, conn, len(answer)))
}

func TestAnswerThatComesInPartsIsLeftOutToo(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "Bound", string(beginAsPart)+"Bound", "")
	go func() {
		for _, b := range []byte(asPart + answer) {
			_, _ = server.Write([]byte{b})
		}
	}()
	require.Equal(t, answer, read(t, conn, len(answer)))
}

// TestWhatTheServerSaysAtAnyTimeIsPassedOn is about a setting that was changed: it is told before the next
// ReadyForQuery.
func TestWhatTheServerSaysAtAnyTimeIsPassedOn(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "Query", string(beginAsPart)+string(syncNow)+"Query", asPart+setting+string(ready)+answer)
	require.Equal(t, setting+answer, read(t, conn, len(setting+answer)))
}

func TestBeginThatFailsIsTheFaultOfItsStatement(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "Bound", string(beginAsPart)+"Bound", failure)
	require.Equal(t, failure, read(t, conn, len(failure)))
}

func TestConnectionIsGivenUpWhenNobodyKnowsWhoseAnswerComesNext(t *testing.T) {
	t.Parallel()
	for statement, said := range map[string]string{"Query": failure, "Bound": answer} {
		conn, server := begunLater(t)
		begin := string(beginAsPart)
		if statement == "Query" {
			begin += string(syncNow)
		}
		exchange(t, conn, server, statement, begin+statement, said)
		_, err := conn.Read(make([]byte, 64))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, statement)
		_, err = conn.Write([]byte("more"))
		require.Error(t, err, "it is closed")
	}
}

func TestServerThatHangsUpOnABeginIsAnError(t *testing.T) {
	t.Parallel()
	conn, server := begunLater(t)
	exchange(t, conn, server, "Bound", string(beginAsPart)+"Bound", "")
	go func() {
		_, _ = server.Write(parseComplete)
		_ = server.Close()
	}()
	_, err := conn.Read(make([]byte, 64))
	require.ErrorIs(t, err, io.EOF)
}
