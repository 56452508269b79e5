package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/migrations"
	"user-service/platform/batch"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// newInstance is a module as one process has it, on a database that it may share.
func newInstance(t testing.TB, database string) *Module {
	t.Helper()
	db, err := postgres.Open(database, 10)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	require.NoError(t, err)
	return New(db, bus, Settings{
		Providers: []Provider{LogProvider{silent}}, Templates: BuiltInTemplates(), Attempts: 5,
	}, silent)
}

// newRecipient has no device, so that nothing is sent.
func (m *Module) newRecipient(t *testing.T) (user string) {
	user = uuid.NewString()
	_, err := m.db.Exec(t.Context(), `INSERT INTO push.recipients (user_id, push_allowed) VALUES ($1, true)`, user)
	require.NoError(t, err)
	return user
}

func (m *Module) ask(ctx context.Context, id, user string) (reservation, error) {
	return m.reservations.Do(ctx, id, request{pushMessage: pushMessage{RequestID: id, UserID: user, TemplateCode: "t"}})
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
	asked, outcomes, user := map[string]request{}, map[string]outcome{}, uuid.NewString()
	for n := range 12 {
		id := fmt.Sprint(n)
		asked[id], outcomes[id] = request{pushMessage: pushMessage{RequestID: id, UserID: user}}, sentTo(user, id)
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
		held, release := servertest.HeldUp(t, "reserve", m.store.reserve)
		m.reservations = held
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
		release(6)
		begun := time.Now()
		require.NoError(t, others.Wait(), "although the lock is still held")
		require.Less(t, time.Since(begun), batch.Within, "the batch did not wait for it")
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
	user := uuid.NewString()
	_, err := m.db.Exec(t.Context(), `
		INSERT INTO push.deliveries (request_id, user_id, template_code, status, attempts, lease_until) VALUES
		('sending', $1, '', 'sending', 1, now() + interval '1 minute'), ('left', $1, '', 'sending', 1, now() - interval '1 second'),
		('retrying', $1, '', 'retrying', 2, NULL), ('sent', $1, '', 'sent', 1, NULL),
		('failed', $1, '', 'failed', 3, NULL), ('moved back', $1, '', 'failed', 3, NULL)`, user)
	require.NoError(t, err)
	asked := map[string]request{}
	for _, id := range []string{"sending", "left", "retrying", "sent", "failed", "moved back", "new"} {
		asked[id] = request{pushMessage: pushMessage{RequestID: id, UserID: user}, movedBack: id == "moved back"}
	}
	answers, err := m.store.reserve(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, map[string]reservation{
		"left": {state: reserved, attempts: 2}, "retrying": {state: reserved, attempts: 3},
		"moved back": {state: reserved, attempts: 4}, "new": {state: reserved, attempts: 1},
		"sent": {state: finished}, "failed": {state: finished}, // what is not there is busy
	}, answers)

	outcomes := map[string]outcome{}
	for _, id := range []string{"sending", "retrying", "sent", "unread", "left"} {
		o := sentTo(user, id)
		o.unread = id == "unread" || id == "left"
		outcomes[id] = o
	}
	first, err := m.store.finish(t.Context(), outcomes)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"sending", "retrying", "unread"}, first, "a message that was not read takes no request from who works on it")
}

func TestReservationSaysWhomItIsFor(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	token := "a token"
	is := map[string]*recipient{
		uuid.NewString(): {PushToken: &token, PushAllowed: true, IsActive: true},
		uuid.NewString(): {PushAllowed: true, IsActive: true},
		uuid.NewString(): {PushToken: &token, IsActive: true},
		uuid.NewString(): {PushToken: &token, PushAllowed: true},
		uuid.NewString(): nil, // a stranger
	}
	asked := map[string]request{}
	for user, r := range is {
		if r != nil {
			_, err := m.db.Exec(t.Context(), `INSERT INTO push.recipients (user_id, push_token, push_allowed, is_active) VALUES ($1, $2, $3, $4)`,
				user, r.PushToken, r.PushAllowed, r.IsActive)
			require.NoError(t, err)
		}
		for _, n := range []string{"first", "second"} {
			asked[n+" to "+user] = request{pushMessage: pushMessage{RequestID: n + " to " + user, UserID: user}}
		}
	}
	answers, err := m.store.reserve(t.Context(), asked)
	require.NoError(t, err)
	require.Len(t, answers, len(asked))
	for id, answer := range answers {
		require.Equal(t, is[asked[id].UserID], answer.to, id)
	}
}

// TestRecipientIsReadAfterTheReservation however long it had to wait for a row: what changed meanwhile counts.
func TestRecipientIsReadAfterTheReservation(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	user := m.newRecipient(t)
	_, err := m.ask(t.Context(), "locked", user)
	require.NoError(t, err)
	var answers map[string]reservation
	var waiting errgroup.Group
	require.NoError(t, m.db.InTx(t.Context(), func(locked context.Context) error {
		_, err := m.db.Exec(locked, `SELECT FROM push.deliveries WHERE request_id = $1 FOR UPDATE`, "locked")
		require.NoError(t, err)
		waiting.Go(func() (err error) {
			answers, err = m.store.reserve(t.Context(), map[string]request{
				"locked": {pushMessage: pushMessage{RequestID: "locked", UserID: user}},
				"new":    {pushMessage: pushMessage{RequestID: "new", UserID: user}},
			})
			return err
		})
		servertest.Eventually(t, func() bool {
			var waits bool
			require.NoError(t, m.db.Get(t.Context(), &waits, `
				SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`))
			return waits
		}, "the batch waits for the row")
		_, err = m.db.Exec(t.Context(), `UPDATE push.recipients SET is_active = false WHERE user_id = $1`, user)
		return err
	}))
	require.NoError(t, waiting.Wait())
	require.Equal(t, map[string]reservation{
		"new": {state: reserved, attempts: 1, to: &recipient{PushAllowed: true}}, // what is not there is busy
	}, answers)
}

func TestRequestWhoseRecipientCannotBeReadIsGivenBack(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	user := m.newRecipient(t)
	message := messaging.Delivery{Attempt: 1, Body: fmt.Appendf(nil, `{"request_id":"r","user_id":%q,"template_code":"welcome_notification"}`, user)}
	status := func() (status string) {
		require.NoError(t, m.db.Get(t.Context(), &status, `SELECT status FROM push.deliveries WHERE request_id = 'r'`))
		return status
	}

	_, err := m.db.Exec(t.Context(), `ALTER TABLE push.recipients RENAME TO recipients_away`)
	require.NoError(t, err)
	require.ErrorContains(t, m.Handle(t.Context(), message), "look up the recipients")
	require.Equal(t, "retrying", status(), "and not reserved until its lease ends")

	_, err = m.db.Exec(t.Context(), `ALTER TABLE push.recipients_away RENAME TO recipients`)
	require.NoError(t, err)
	require.NoError(t, m.Handle(t.Context(), message))
	require.Equal(t, "skipped", status())
}
