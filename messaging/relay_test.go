package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/messaging/events"
	"user-service/migrations"
	"user-service/platform/correlation"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

func TestRelayGoesByTheIndexHoweverLittleThereIs(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(servertest.Database(t, migrations.Files), 1, postgres.ByIndex)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		read := func() (n int) {
			require.NoError(t, db.Get(ctx, &n, `SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'outbox'`))
			return n
		}
		before := read()
		for _, l := range []lane{eventLane, mailLane, pushLane} {
			for range 7 {
				var rows []outboxRow
				require.NoError(t, db.Select(ctx, &rows, l.take(), l.batch, l.lock))
			}
		}
		require.Equal(t, before, read())
		return nil
	}))
}

func TestEventArrivesAsCloudEvent(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	s.relay(t, b, NewPublisher(b.connect(t)))
	user := newUser()
	ids := correlation.IDs{Correlation: "request-7", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

	before := time.Now().Add(-time.Minute)
	require.NoError(t, s.db.InTx(correlation.With(t.Context(), ids), func(ctx context.Context) error {
		return s.Publish(ctx, changed(user))
	}))
	d := receive(t, arrived)

	var event map[string]any
	require.NoError(t, json.Unmarshal(d.Body, &event))
	at, err := time.Parse(time.RFC3339, event["time"].(string))
	require.NoError(t, err)
	require.WithinRange(t, at, before, time.Now().Add(time.Minute))
	require.Equal(t, time.UTC, at.Location())
	delete(event, "time")
	require.Equal(t, map[string]any{
		"specversion": "1.0", "id": d.MessageId, "source": "/user-service/preferences", "type": "user.preferences_changed",
		"subject": user, "datacontenttype": "application/json", "correlationid": "request-7",
		"traceparent": ids.Traceparent, "sequence": "0000000001",
		"data": map[string]any{"user_id": user, "email": true, "push": false, "changed": []any{"email"}},
	}, event)

	require.NotEmpty(t, d.MessageId)
	require.Equal(t, "user.events", d.Exchange)
	require.Equal(t, "user.preferences_changed", d.RoutingKey)
	require.Equal(t, "user.preferences_changed", d.Type)
	require.Equal(t, "application/cloudevents+json", d.ContentType)
	require.Equal(t, "request-7", d.CorrelationId)
	require.Equal(t, amqp.Persistent, d.DeliveryMode)
	require.Equal(t, amqp.Table{"traceparent": ids.Traceparent}, d.Headers)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "delivered rows are gone")
}

// numbered gives the sequences of the next n events that arrive, per user. An event that came twice
// counts once.
func numbered(t testing.TB, arrived <-chan amqp.Delivery, n int) map[string][]string {
	t.Helper()
	sequences, seen := map[string][]string{}, map[string]bool{}
	for len(seen) < n {
		d := receive(t, arrived)
		if seen[d.MessageId] {
			continue
		}
		seen[d.MessageId] = true
		var event cloudEvent
		require.NoError(t, json.Unmarshal(d.Body, &event))
		sequences[event.Subject] = append(sequences[event.Subject], event.Sequence)
	}
	return sequences
}

func requireOrder(t testing.TB, sequences map[string][]string, users, each int) {
	t.Helper()
	require.Len(t, sequences, users)
	for user, got := range sequences {
		require.Len(t, got, each)
		require.True(t, slices.IsSorted(got), "%s: %v", user, got)
		require.Equal(t, fmt.Sprintf("%010d", each), got[each-1])
	}
}

// burst publishes each events of each of users, interleaved.
func (s sender) burst(t testing.TB, users, each int) {
	t.Helper()
	names := make([]string, users)
	for i := range names {
		names[i] = newUser()
	}
	for range each {
		for _, user := range names {
			s.publish(t, changed(user))
		}
	}
}

func TestForeignTransactionDoesNotStallTheRelay(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	s.relay(t, b, NewPublisher(b.connect(t)))

	require.NoError(t, s.db.InTx(t.Context(), func(foreign context.Context) error {
		require.NoError(t, s.Publish(foreign, changed(newUser()))) // it even has a row, with the first position
		s.publish(t, changed(newUser()))
		require.Equal(t, "0000000001", first(numbered(t, arrived, 1)))
		return nil
	}))
	require.Equal(t, "0000000001", first(numbered(t, arrived, 1)), "the row with the lower position follows")
}

func first(sequences map[string][]string) string {
	for _, of := range sequences {
		return of[0]
	}
	return ""
}

func TestEventsWrittenWhileTheBrokerIsAwayArriveInOrder(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	proxy, url := servertest.NewProxy(t, b.url)
	conn := b.connectTo(t, url)
	s.relay(t, b, NewPublisher(conn))

	s.burst(t, 1, 1)
	numbered(t, arrived, 1)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "confirmed, so that it does not come again")
	proxy.Cut()
	s.burst(t, 4, 50)
	require.Error(t, conn.Up(t.Context()))
	proxy.Restore()

	requireOrder(t, numbered(t, arrived, 200), 4, 50)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the outbox is empty")
}

func TestBatchThatIsNotConfirmedStaysInTheOutbox(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	proxy, url := servertest.NewProxy(t, b.url)
	p := NewPublisher(b.connectTo(t, url))
	p.within = 300 * time.Millisecond
	require.NoError(t, p.publish(t.Context(), outgoing{exchange: b.topology.Events, key: "warm.up"}))
	receive(t, arrived)

	proxy.Disturb(`{"name":"deaf","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
	s.burst(t, 2, 5)
	s.relay(t, b, p)
	requireOrder(t, numbered(t, arrived, 10), 2, 5) // taken by the broker, but the relay cannot know
	require.Len(t, s.rows(t), 10)

	proxy.Calm()
	requireOrder(t, numbered(t, arrived, 10), 2, 5)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the outbox is empty")
}

func TestTwoRelaysKeepOrderAndLoseNothing(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	s.burst(t, 20, 60) // more than two batches
	for range 2 {
		s.relay(t, b, NewPublisher(b.connect(t)))
	}
	s.burst(t, 1, 10)
	sequences := numbered(t, arrived, 1210)
	for user, got := range sequences {
		require.True(t, slices.IsSorted(got), user)
	}
	require.Len(t, sequences, 21)
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the outbox is empty")
	require.Empty(t, arrived, "nothing came twice")
}

func TestBatchIsInOrderHoweverItsRowsLie(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	s.burst(t, 2, 50)
	_, err := s.db.Exec(t.Context(), "UPDATE messaging.outbox SET topic = topic WHERE position % 3 = $1", 0) // moves them to the end
	require.NoError(t, err)
	s.relay(t, b, NewPublisher(b.connect(t)))
	requireOrder(t, numbered(t, arrived, 100), 2, 50)
}

func TestRelayDoesNotWaitForAnotherOne(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	s.publish(t, changed(newUser()))
	require.NoError(t, s.db.InTx(t.Context(), func(other context.Context) error {
		_, err := s.db.Exec(other, "SELECT pg_advisory_xact_lock($1)", eventLane.lock)
		require.NoError(t, err)
		_, err = newOutboxSubscriber(s.db, s.outbox, eventLane, nil, nil, silent).carry(t.Context(), nil)
		require.ErrorIs(t, err, errNotMyTurn)
		return nil
	}))
	require.Len(t, s.rows(t), 1)
}

func TestAnotherRelayTakesOverWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	stop := s.relay(t, b, NewPublisher(b.connect(t)))
	s.publish(t, changed(newUser()))
	numbered(t, arrived, 1)

	other := s
	other.outbox = NewOutbox(s.db) // another process: not woken by the commits of this one
	other.relay(t, b, NewPublisher(b.connect(t)))
	stop()
	start := time.Now()
	s.publish(t, changed(newUser()))
	numbered(t, arrived, 1)
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestCommitWakesTheRelay(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	s.relay(t, b, NewPublisher(b.connect(t)))
	user := newUser()
	var took []time.Duration
	for range 15 {
		s.publish(t, changed(user))
		start := time.Now()
		receive(t, arrived)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	require.Less(t, took[len(took)/2], relayPoll/4, "the poll alone would need half of its interval: %v", took)
}

// batches reads the lane of events: next waits for a batch, and gives how many rows it has.
func (s sender) batches(t *testing.T, b *broker, linger time.Duration) (next func() int) {
	t.Helper()
	l := eventLane
	l.linger = linger
	subscriber := newOutboxSubscriber(s.db, s.outbox, l, s.outbox.wake, b.connect(t), silent)
	messages, err := subscriber.Subscribe(t.Context(), l.name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = subscriber.Close() })
	return func() int {
		select {
		case msg := <-messages:
			msg.Ack()
			return len(batchOf(msg).rows)
		case <-time.After(10 * time.Second):
			require.Fail(t, "no batch comes")
			return 0
		}
	}
}

func TestEventsThatComeAloneDoNotLinger(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	next := s.batches(t, b, time.Hour)
	for range 5 {
		s.publish(t, changed(newUser()))
		require.Equal(t, 1, next())
	}
}

func TestEventsBehindACrowdLeaveTogether(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	next := s.batches(t, b, 2*time.Second)
	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		for range eventLane.crowd {
			require.NoError(t, s.Publish(ctx, changed(newUser())))
		}
		return nil
	}))
	require.Equal(t, eventLane.crowd, next())
	for range 4 {
		s.publish(t, changed(newUser()))
	}
	require.Equal(t, 4, next())
}

func TestStoppedRelayFinishesItsBatch(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	arrived := b.listen(t)
	proxy, url := servertest.NewProxy(t, b.url)
	stop := s.relay(t, b, NewPublisher(b.connectTo(t, url)))
	proxy.Disturb(`{"type":"latency","stream":"downstream","attributes":{"latency":300}}`)
	s.publish(t, changed(newUser()))
	receive(t, arrived) // its confirm is on the way
	stop()
	require.Empty(t, s.rows(t))
}

func TestDeletedExchangeIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	s, b := newSender(t), newBroker(t)
	s.relay(t, b, NewPublisher(b.connect(t)))
	require.NoError(t, b.ch.ExchangeDelete(b.topology.Events, false, false))
	s.publish(t, events.PushSent{PushOutcome: events.PushOutcome{UserID: newUser()}})
	servertest.Eventually(t, func() bool { return len(s.rows(t)) == 0 }, "the event has left")
}
