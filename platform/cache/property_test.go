package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"user-service/platform/postgres"
)

// Whatever the order in which two instances announce, commit, roll back, crash, load and fill: a read
// never gives a value older than the last commit that had finished when it began.
func TestNoInterleavingGivesAReaderAnOldValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.instance(t), w.instance(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, key: w.add(t, "1"), texts: []string{"", "1"}, committed: 1}
		anyOf := rapid.SampledFrom([]*instance{a, b})
		defer m.finishAll(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"begin a write": func(rt *rapid.T) { m.beginWrite(rt, anyOf.Draw(rt, "instance")) },
			"commit":        func(rt *rapid.T) { m.endWrite(rt, "commit") },
			"roll back":     func(rt *rapid.T) { m.endWrite(rt, "roll back") },
			"crash":         func(rt *rapid.T) { m.endWrite(rt, "crash") },
			"begin a read":  func(rt *rapid.T) { m.beginRead(rt, anyOf.Draw(rt, "instance")) },
			"end a read":    m.endRead,
			"read":          func(rt *rapid.T) { m.read(rt, anyOf.Draw(rt, "instance")) },
			"lose scripts": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") == 0 {
					require.NoError(rt, w.redis.ScriptFlush(t.Context()).Err())
				}
			},
		})
	})
	require.NotNil(t, a.trusted(), "the cache was not in use")
}

type model struct {
	t         *testing.T
	key       string
	texts     []string // by version, last committed or in the open write
	committed int64
	writes    int
	decide    chan string // to the open write; nil: there is none
	done      chan error
	reads     []openRead
}

type openRead struct {
	finish func() row
	since  int64 // what had been committed when it began
}

var errRefused = errors.New("refused")

func (m *model) beginWrite(rt *rapid.T, i *instance) {
	if m.decide != nil {
		rt.Skip("one row, one writer")
	}
	m.writes++
	text := fmt.Sprintf("%d (write %d)", m.committed+1, m.writes)
	m.texts = append(m.texts[:m.committed+1], text)
	m.decide, m.done = make(chan string), make(chan error, 1)
	announced, decide, done := make(chan struct{}), m.decide, m.done
	go func() {
		defer func() {
			if p := recover(); p != nil && p != "crash" {
				done <- fmt.Errorf("panic: %v", p)
			}
			close(done)
		}()
		done <- m.write(i, text, announced, decide)
	}()
	select {
	case <-announced:
	case err := <-done:
		require.NoError(rt, err)
	}
}

func (m *model) write(i *instance, text string, announced chan struct{}, decide chan string) error {
	decision := ""
	return i.db.InTx(m.t.Context(), func(ctx context.Context) error {
		if err := postgres.AfterCommit(ctx, func(context.Context) {
			if decision == "crash" {
				panic("crash")
			}
		}); err != nil {
			return err
		}
		if err := i.change(ctx, m.key, text); err != nil {
			return err
		}
		return onceAnnounced(ctx, func() error {
			close(announced)
			if decision = <-decide; decision == "roll back" {
				return errRefused
			}
			return nil
		})
	})
}

func (m *model) endWrite(rt *rapid.T, decision string) {
	if m.decide == nil {
		rt.Skip("no open write")
	}
	m.decide <- decision
	err := <-m.done
	m.decide = nil
	if decision == "roll back" {
		require.ErrorIs(rt, err, errRefused)
		return
	}
	require.NoError(rt, err)
	m.committed++
}

func (m *model) beginRead(rt *rapid.T, i *instance) {
	if len(m.reads) == 4 {
		rt.Skip("enough of them")
	}
	since := m.committed
	m.reads = append(m.reads, openRead{i.startRead(m.t, m.key), since})
}

func (m *model) endRead(rt *rapid.T) {
	if len(m.reads) == 0 {
		rt.Skip("no open read")
	}
	n := rapid.IntRange(0, len(m.reads)-1).Draw(rt, "read")
	read := m.reads[n]
	m.reads = append(m.reads[:n:n], m.reads[n+1:]...)
	r := read.finish()
	require.GreaterOrEqual(rt, r.Version, read.since, "older than the last commit before the read: %s", r.Text)
	require.LessOrEqual(rt, r.Version, m.committed)
}

func (m *model) read(rt *rapid.T, i *instance) {
	require.Equal(rt, row{m.texts[m.committed], m.committed}, i.read(m.t, m.key))
}

func (m *model) finishAll(rt *rapid.T) {
	if m.decide != nil {
		m.endWrite(rt, "roll back")
	}
	for len(m.reads) > 0 {
		m.reads[0].finish()
		m.reads = m.reads[1:]
	}
}
