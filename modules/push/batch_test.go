package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/migrations"
	"user-service/platform/cache"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// press writes batches when it is told to, and notes them down.
type press struct {
	*batches[string, string]
	mu      sync.Mutex
	written [][]string
	begun   chan struct{}
	goOn    chan error // what each write ends with
}

func newPress() *press {
	p := &press{begun: make(chan struct{}), goOn: make(chan error)}
	p.batches = newBatches("test", 1, func(_ context.Context, batch map[string]string) (map[string]string, error) {
		p.mu.Lock()
		p.written = append(p.written, slices.Sorted(maps.Keys(batch)))
		p.mu.Unlock()
		p.begun <- struct{}{}
		return batch, <-p.goOn
	})
	return p
}

// await returns when n callers wait.
func (b *batches[Asked, Answer]) await(t testing.TB, n int) {
	t.Helper()
	servertest.Eventually(t, func() bool { return b.group.Waiting() == n }, "%d wait", n)
}

// holdUp has the next n callers be in one batch, which is written when release is called.
func (b *batches[Asked, Answer]) holdUp(t testing.TB, n int) (release func()) {
	t.Helper()
	write, begun, gate := b.write, make(chan struct{}), make(chan struct{})
	b.write = func(ctx context.Context, batch map[string]Asked) (map[string]Answer, error) {
		if _, held := batch[holding]; !held {
			return write(ctx, batch)
		}
		begun <- struct{}{}
		<-gate
		return nil, nil
	}
	for range batchesAtOnce {
		go func() {
			var none Asked
			_, _ = b.do(context.WithoutCancel(t.Context()), holding, none)
		}()
		<-begun
	}
	return func() {
		t.Helper()
		b.await(t, n)
		close(gate)
	}
}

const holding = "holds up the others"

func (p *press) do(t *testing.T, callers *errgroup.Group, key, asked string) {
	callers.Go(func() error {
		answer, err := p.batches.do(t.Context(), key, asked)
		if err == nil && answer != asked {
			return fmt.Errorf("%s was answered %q", asked, answer)
		}
		return err
	})
}

func (p *press) write(err error) {
	<-p.begun
	p.goOn <- err
}

func TestWhoComesWhileABatchIsWrittenIsInTheNext(t *testing.T) {
	t.Parallel()
	p := newPress()
	var callers errgroup.Group
	p.do(t, &callers, "a", "a1")
	<-p.begun // alone, and at once
	for _, key := range []string{"b", "c", "d"} {
		p.do(t, &callers, key, key)
	}
	p.await(t, 3)
	p.do(t, &callers, "a", "a2")
	p.await(t, 4)
	p.do(t, &callers, "a", "a3")
	p.await(t, 5)
	p.goOn <- nil
	p.write(nil)
	p.write(nil)
	require.NoError(t, callers.Wait())
	require.Equal(t, [][]string{{"a"}, {"a", "b", "c", "d"}, {"a"}}, p.written, "of a key that comes twice the later one is written later")
}

// TestBatchThatIsSlowHoldsUpNoOther is about the latency of all whose batch is another one.
func TestBatchThatIsSlowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	begun, slow := make(chan struct{}), make(chan struct{})
	b := newBatches("test", batchesAtOnce, func(_ context.Context, batch map[string]string) (map[string]string, error) {
		if _, is := batch["slow"]; is {
			close(begun)
			<-slow
		}
		return batch, nil
	})
	var callers errgroup.Group
	callers.Go(func() error { _, err := b.do(t.Context(), "slow", ""); return err })
	<-begun
	_, err := b.do(t.Context(), "other", "")
	require.NoError(t, err)
	close(slow)
	require.NoError(t, callers.Wait())
}

func TestBatchThatFailsIsWrittenOneByOne(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	b := newBatches("test", batchesAtOnce, func(_ context.Context, batch map[string]string) (map[string]string, error) {
		if _, bad := batch["bad"]; bad {
			return nil, refused
		}
		return batch, nil
	})
	release := b.holdUp(t, 11)
	var good, bad errgroup.Group
	for n := range 10 {
		good.Go(func() error { _, err := b.do(t.Context(), fmt.Sprint(n), "good"); return err })
	}
	bad.Go(func() error { _, err := b.do(t.Context(), "bad", "bad"); return err })
	release()
	require.NoError(t, good.Wait())
	require.ErrorIs(t, bad.Wait(), refused)
}

func TestPanicOfTheWriterLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := newBatches("test", batchesAtOnce, func(_ context.Context, batch map[string]string) (map[string]string, error) {
		if len(batch) > 1 {
			panic("as asked")
		}
		return batch, nil
	})
	release := b.holdUp(t, 3)
	var callers errgroup.Group
	for n := range 3 {
		callers.Go(func() (err error) {
			defer func() { _ = recover() }() // as Recoverer would
			_, err = b.do(t.Context(), fmt.Sprint(n), "")
			return err
		})
	}
	release()
	require.NoError(t, callers.Wait())
}

// newInstance is a module as one process has it, on a database that it may share.
func newInstance(t testing.TB, database string) *Module {
	t.Helper()
	db, err := postgres.Open(database, 10)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	require.NoError(t, err)
	redis, err := cache.Dial(servertest.Env(t, "REDIS_URL"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = redis.Close() })
	return New(db, bus, cache.New(redis, db, 0, silent), Settings{
		Providers: []Provider{LogProvider{silent}}, Templates: BuiltInTemplates(), Attempts: 5,
	}, silent)
}

func (m *Module) ask(ctx context.Context, id, user string) (reservation, error) {
	return m.reservations.do(ctx, id, request{pushMessage: pushMessage{RequestID: id, UserID: user, TemplateCode: "t"}})
}

func sentTo(user, id string) outcome {
	return outcome{pushMessage: pushMessage{RequestID: id, UserID: user, TemplateCode: "t"}, status: sent, attempts: 1, correlationID: "of " + id}
}

// TestInstancesGiveEachRequestToOneAndTellItOnce has two instances work on the same requests of the
// same users at once, in batches whose rows are mixed: a lock taken in another order would be a deadlock.
func TestInstancesGiveEachRequestToOneAndTellItOnce(t *testing.T) {
	t.Parallel()
	const requests, users, handlers = 300, 5, 8
	database := servertest.Database(t, migrations.Files)
	var to [users]string
	for n := range to {
		to[n] = uuid.NewString()
	}
	id := func(n int) string { return fmt.Sprintf("request %d", n*7919%requests) } // not in the order of users
	var mu sync.Mutex
	won := map[string]int{}
	var all errgroup.Group
	for range 2 {
		m := newInstance(t, database)
		work := make(chan int, requests)
		for _, n := range rand.Perm(requests) {
			work <- n
		}
		close(work)
		for range handlers {
			all.Go(func() error {
				for n := range work {
					user := to[n%users]
					got, err := m.ask(t.Context(), id(n), user)
					if err != nil {
						return err
					}
					if got.state == reserved {
						mu.Lock()
						won[id(n)]++
						mu.Unlock()
					}
					// Told by both instances, whoever has it: only the first may count.
					if err := m.record(t.Context(), sentTo(user, id(n))); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	require.NoError(t, all.Wait())
	require.Len(t, won, requests)
	for id, times := range won {
		require.Equal(t, 1, times, id)
	}

	m := newInstance(t, database)
	var rows []struct {
		Subject       string
		Sequence      int
		CorrelationID string `db:"correlation_id"`
		RequestID     string `db:"request_id"`
	}
	require.NoError(t, m.db.Select(t.Context(), &rows, `
		SELECT subject, sequence, correlation_id, data->>'request_id' AS request_id FROM messaging.outbox ORDER BY position`))
	require.Len(t, rows, requests, "one event for each request")
	last, told := map[string]int{}, map[string]bool{}
	for _, row := range rows {
		require.Equal(t, last[row.Subject]+1, row.Sequence, "the numbers of a user rise with the positions, without gaps")
		last[row.Subject]++
		require.Equal(t, "of "+row.RequestID, row.CorrelationID, "an event goes on with the ids of its own message")
		require.False(t, told[row.RequestID], "told twice")
		told[row.RequestID] = true
	}
}

// TestBatchesOfInstancesNeverWaitForEachOther has all of them touch the same rows: in another order than
// one for all, each could hold what the other waits for.
func TestBatchesOfInstancesNeverWaitForEachOther(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	asked, outcomes := map[string]request{}, map[string]outcome{}
	for n := range 12 {
		id := fmt.Sprint(n)
		asked[id], outcomes[id] = request{pushMessage: pushMessage{RequestID: id}}, sentTo("", id)
	}
	var instances errgroup.Group
	for range 6 {
		instances.Go(func() error {
			for range 20 {
				_, err := m.store.reserve(t.Context(), asked)
				_, finishErr := m.store.finish(t.Context(), outcomes)
				if err := errors.Join(err, finishErr); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, instances.Wait())
}

func TestRequestThatSomebodyKeepsLockedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	user := uuid.NewString()
	_, err := m.ask(t.Context(), "locked", user)
	require.NoError(t, err)
	require.NoError(t, m.db.InTx(t.Context(), func(locked context.Context) error {
		_, err := m.db.Exec(locked, `SELECT FROM push.deliveries WHERE request_id = $1 FOR UPDATE`, "locked")
		require.NoError(t, err)
		var stuck, others errgroup.Group
		release := m.reservations.holdUp(t, 6)
		stuck.Go(func() error { _, err := m.ask(t.Context(), "locked", user); return err })
		for n := range 5 {
			others.Go(func() error {
				id := fmt.Sprint(n)
				got, err := m.ask(t.Context(), id, user)
				if err == nil && got.state != reserved {
					err = fmt.Errorf("%s was not to be had", id)
				}
				return errors.Join(err, m.record(t.Context(), sentTo(user, id)))
			})
		}
		release()
		begun := time.Now()
		require.NoError(t, others.Wait(), "although the lock is still held")
		require.Less(t, time.Since(begun), writeWithin, "the batch did not wait for it")
		require.Error(t, stuck.Wait(), "it is tried again later")
		return nil
	}))
	got, err := m.ask(t.Context(), "locked", user)
	require.NoError(t, err)
	require.Equal(t, busy, got.state)
}

func TestReservationsOfOneBatchAreJudgedEachForItself(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	_, err := m.db.Exec(t.Context(), `
		INSERT INTO push.deliveries (request_id, user_id, template_code, status, attempts, lease_until) VALUES
		('sending', '', '', 'sending', 1, now() + interval '1 minute'), ('left', '', '', 'sending', 1, now() - interval '1 second'),
		('retrying', '', '', 'retrying', 2, NULL), ('sent', '', '', 'sent', 1, NULL),
		('failed', '', '', 'failed', 3, NULL), ('moved back', '', '', 'failed', 3, NULL)`)
	require.NoError(t, err)
	asked := map[string]request{}
	for _, id := range []string{"sending", "left", "retrying", "sent", "failed", "moved back", "new"} {
		asked[id] = request{pushMessage: pushMessage{RequestID: id}, movedBack: id == "moved back"}
	}
	answers, err := m.store.reserve(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, map[string]reservation{
		"left": {reserved, 2}, "retrying": {reserved, 3}, "moved back": {reserved, 4}, "new": {reserved, 1},
		"sent": {state: finished}, "failed": {state: finished}, // what is not there is busy
	}, answers)

	outcomes := map[string]outcome{}
	for _, id := range []string{"sending", "retrying", "sent", "unread", "left"} {
		o := sentTo("", id)
		o.unread = id == "unread" || id == "left"
		outcomes[id] = o
	}
	first, err := m.store.finish(t.Context(), outcomes)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"sending", "retrying", "unread"}, first, "a message that was not read takes no request from who works on it")
}
