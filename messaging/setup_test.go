package messaging

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/messaging/events"
	"user-service/migrations"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

var silent = slog.New(slog.DiscardHandler)

// broker is a virtual host of a test's own, with the topology declared.
type broker struct {
	url      string
	topology Topology
	ch       *amqp.Channel // of the test itself
}

func newBroker(t testing.TB, steps ...time.Duration) *broker {
	t.Helper()
	if steps == nil {
		steps = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}
	}
	b := &broker{url: servertest.VHost(t), topology: Topology{
		Exchange: "notifications.direct", DLX: "notifications.dlx", Events: "user.events",
		PushQueue: "push.queue", FailedQueue: "failed.queue", RetrySteps: steps, Logged: new(sync.Map),
	}}
	conn := dial(t, b.url)
	require.NoError(t, b.topology.Declare(conn, silent))
	b.ch = open(t, conn)
	return b
}

func dial(t testing.TB, url string) *amqp.Connection {
	t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) })
	return conn
}

func open(t testing.TB, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// connect keeps a Connection up until the test ends.
func (b *broker) connect(t testing.TB) *Connection {
	t.Helper()
	return b.connectTo(t, b.url)
}

func (b *broker) connectTo(t testing.TB, url string) *Connection {
	t.Helper()
	c := NewConnection(url, t.Name(), b.topology, silent)
	background(t, c.Run)
	servertest.Eventually(t, func() bool { return c.Up(t.Context()) == nil }, "connected to the broker")
	return c
}

// background runs fn until stop is called or the test ends.
func background(t testing.TB, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			require.FailNow(t, "did not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// put sends a message to push.queue as a producer would.
func (b *broker) put(t testing.TB, m amqp.Publishing) {
	t.Helper()
	require.NoError(t, b.ch.PublishWithContext(t.Context(), b.topology.Exchange, pushKey, true, false, m))
}

// take waits for the next message of a queue.
func (b *broker) take(t testing.TB, queue string) amqp.Delivery {
	t.Helper()
	var d amqp.Delivery
	servertest.Eventually(t, func() bool {
		got, ok, err := b.ch.Get(queue, true)
		require.NoError(t, err)
		d = got
		return ok
	}, "a message in %s", queue)
	return d
}

// depth is how many messages of a queue are ready.
func (b *broker) depth(t testing.TB, queue string) int {
	t.Helper()
	q, err := b.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

func (b *broker) consumers(t testing.TB, queue string) int {
	t.Helper()
	q, err := b.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Consumers
}

// listen gives every event from now on.
func (b *broker) listen(t testing.TB) <-chan amqp.Delivery {
	t.Helper()
	ch := open(t, dial(t, b.url))
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(q.Name, "#", b.topology.Events, false, nil))
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	require.NoError(t, err)
	return deliveries
}

// receive waits for one delivery.
func receive(t testing.TB, deliveries <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d, ok := <-deliveries:
		require.True(t, ok, "the test's own consumer ended")
		return d
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no message in 20 s")
		return amqp.Delivery{}
	}
}

// consume runs c, with what it leaves open filled in.
func (b *broker) consume(t testing.TB, c Consumer) (stop func()) {
	t.Helper()
	if c.Connection == nil {
		c.Connection = b.connect(t)
	}
	if c.Publisher == nil {
		c.Publisher = NewPublisher(b.connect(t))
	}
	if c.Breaker == nil {
		c.Breaker = new(fakeBreaker)
	}
	if c.Failed == nil {
		c.Failed = func(context.Context, Delivery, *Permanent) error { return nil }
	}
	if c.Queue == "" {
		c.Queue = b.topology.PushQueue
	}
	if c.Prefetch == 0 {
		c.Prefetch, c.Concurrency = 16, 8
	}
	c.Topology, c.Log, c.Registry = b.topology, silent, prometheus.NewRegistry()
	return background(t, func(ctx context.Context) error { return c.Run(ctx, 20*time.Second) })
}

// fakeBreaker is what guards the provider, in the hand of a test.
type fakeBreaker struct {
	open   atomic.Bool
	passed atomic.Int64 // callers that passed and are not done
}

func (f *fakeBreaker) Pass() (func(), bool) {
	if f.open.Load() {
		return nil, false
	}
	f.passed.Add(1)
	return func() { f.passed.Add(-1) }, true
}

// sender is a bus on a database of its own.
type sender struct {
	*Bus
	db     *postgres.DB
	outbox *Outbox
}

func newSender(t testing.TB) sender {
	t.Helper()
	db := servertest.OpenDatabase(t, migrations.Files)
	outbox := NewOutbox(db)
	bus, err := NewBus(outbox)
	require.NoError(t, err)
	return sender{bus, db, outbox}
}

// publish has one transaction for each event.
func (s sender) publish(t testing.TB, all ...events.Event) {
	t.Helper()
	for _, event := range all {
		require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error { return s.Publish(ctx, event) }))
	}
}

func (s sender) rows(t testing.TB) []outboxRow {
	t.Helper()
	var rows []outboxRow
	require.NoError(t, s.db.Select(t.Context(), &rows, "SELECT * FROM messaging.outbox ORDER BY position"))
	return rows
}

func (s sender) relay(t testing.TB, b *broker, p *Publisher) (stop func()) {
	t.Helper()
	r := Relay{DB: s.db, Outbox: s.outbox, Publisher: p, Topology: b.topology, Log: silent}
	return background(t, func(ctx context.Context) error { return r.Run(ctx, 20*time.Second) })
}

func newUser() string { return uuid.NewString() }

func changed(user string) events.PreferencesChanged {
	return events.PreferencesChanged{UserID: user, Email: true, Changed: []string{"email"}}
}
