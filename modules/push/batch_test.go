package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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

// atOnce is how many messages an instance sends at once.
const atOnce = 2

// newInstance is a module as one process has it, on a database that it may share. Without a provider it logs.
func newInstance(t testing.TB, database string, providers ...Provider) *Module {
	t.Helper()
	db, err := postgres.Open(database, 10)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	require.NoError(t, err)
	if len(providers) == 0 {
		providers = []Provider{LogProvider{silent}}
	}
	return New(db, bus, Settings{Providers: providers, Templates: BuiltInTemplates(), Attempts: 5, Concurrency: atOnce}, silent)
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
	before := time.Now()
	answers, err := m.store.reserve(t.Context(), asked)
	require.NoError(t, err)
	for id, answer := range answers {
		if answer.state == reserved {
			require.WithinRange(t, answer.asOf, before, time.Now())
			answer.asOf = time.Time{}
			answers[id] = answer
		}
	}
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

// messageTo is a message as a producer writes it.
func messageTo(user, id string) messaging.Delivery {
	return messaging.Delivery{Attempt: 1, Body: fmt.Appendf(nil, `{"request_id":%q,"user_id":%q,"template_code":"welcome_notification","variables":{"name":"Ada","link":"https://example.com"}}`, id, user)}
}

func (m *Module) status(t *testing.T, id string) (status string) {
	require.NoError(t, m.db.Get(t.Context(), &status, `SELECT COALESCE(max(status), '') FROM push.deliveries WHERE request_id = $1`, id))
	return status
}

// gated is a provider that takes messages once it is open.
type gated struct {
	asked atomic.Int32
	open  chan struct{}
}

func (*gated) Name() string      { return "gated" }
func (*gated) Takes(string) bool { return true }

func (g *gated) Send(_ context.Context, n Notification) (string, error) {
	g.asked.Add(1)
	<-g.open
	return n.RequestID, nil
}

// TestMessagesAreReservedWhileOthersAreSentAndNoMoreAreSentAtOnceThanAllowed and what changed while a message
// waited for its turn counts.
func TestMessagesAreReservedWhileOthersAreSentAndNoMoreAreSentAtOnceThanAllowed(t *testing.T) {
	t.Parallel()
	provider := &gated{open: make(chan struct{})}
	m := newInstance(t, servertest.Database(t, migrations.Files), provider)
	user := m.newRecipient(t)
	_, err := m.db.Exec(t.Context(), `UPDATE push.recipients SET push_token = 'a token' WHERE user_id = $1`, user)
	require.NoError(t, err)
	var all errgroup.Group
	ids := []string{"0", "1", "2", "3"}
	for _, id := range ids {
		all.Go(func() error { return m.Handle(t.Context(), messageTo(user, id)) })
	}
	servertest.Eventually(t, func() bool {
		return provider.asked.Load() == atOnce && !slices.ContainsFunc(ids, func(id string) bool { return m.status(t, id) != "sending" })
	}, "all are reserved, and some of them are being sent")
	_, err = m.db.Exec(t.Context(), `UPDATE push.recipients SET push_allowed = false WHERE user_id = $1`, user)
	require.NoError(t, err)
	begun := time.Now()
	servertest.Eventually(t, func() bool { return time.Since(begun) > 2*staleAfter }, "the others have waited for long")
	require.EqualValues(t, atOnce, provider.asked.Load())
	close(provider.open)
	require.NoError(t, all.Wait())
	statuses := map[string]int{}
	for _, id := range ids {
		statuses[m.status(t, id)]++
	}
	require.Equal(t, map[string]int{"sent": atOnce, "skipped": len(ids) - atOnce}, statuses)
}

func TestMessageWhoseTurnDoesNotComeIsGivenBackWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	for range atOnce {
		m.sending <- struct{}{} // they never end
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := m.Handle(ctx, messageTo(m.newRecipient(t), "r"))
	require.NoError(t, ctx.Err(), "there would be time left to send it")
	transient, is := errors.AsType[*messaging.Transient](err)
	require.True(t, is, err)
	require.True(t, transient.Blameless)
	var d delivery
	d, err = m.store.delivery(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, []any{"retrying", "busy", 0}, []any{d.Status, d.Reason, d.Attempts})
}

// TestReservationThatHadToWaitKnowsThatItsRecipientsAreOld since they were read before it waited.
func TestReservationThatHadToWaitKnowsThatItsRecipientsAreOld(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	user := m.newRecipient(t)
	_, err := m.ask(t.Context(), "locked", user)
	require.NoError(t, err)
	var answers map[string]reservation
	var waiting errgroup.Group
	var free time.Time
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
		free = time.Now()
		return nil
	}))
	require.NoError(t, waiting.Wait())
	require.Equal(t, reserved, answers["new"].state)
	require.True(t, answers["new"].asOf.Before(free))
}

func TestRecipientThatWasReadLongAgoIsReadAgain(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	user, before := m.newRecipient(t), &recipient{IsActive: true}

	is, err := m.whom(t.Context(), user, reservation{to: before, asOf: time.Now().Add(time.Minute)}) // however slow the machine is
	require.NoError(t, err)
	require.Equal(t, before, is)

	old := reservation{to: before, asOf: time.Now().Add(-staleAfter)}
	is, err = m.whom(t.Context(), user, old)
	require.NoError(t, err)
	require.Equal(t, &recipient{PushAllowed: true, IsActive: true}, is)

	is, err = m.whom(t.Context(), uuid.NewString(), old)
	require.NoError(t, err)
	require.Nil(t, is, "a stranger")

	_, err = m.db.Exec(t.Context(), `ALTER TABLE push.recipients RENAME TO recipients_away`)
	require.NoError(t, err)
	_, err = m.whom(t.Context(), user, old)
	require.ErrorContains(t, err, "look up the recipient")
}

func TestRequestWhoseRecipientCannotBeReadIsNotReserved(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	message := messageTo(m.newRecipient(t), "r")

	_, err := m.db.Exec(t.Context(), `ALTER TABLE push.recipients RENAME TO recipients_away`)
	require.NoError(t, err)
	require.ErrorContains(t, m.Handle(t.Context(), message), "reserve the request")
	require.Empty(t, m.status(t, "r"))

	_, err = m.db.Exec(t.Context(), `ALTER TABLE push.recipients_away RENAME TO recipients`)
	require.NoError(t, err)
	require.NoError(t, m.Handle(t.Context(), message))
	require.Equal(t, "skipped", m.status(t, "r"))
}
