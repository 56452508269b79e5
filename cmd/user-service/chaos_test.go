package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/cmd/localstack/servers"
	"user-service/messaging"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// How long and how hard is for whoever runs these by hand; the defaults are for every day.
var (
	chaosMessages = flag.Int("chaos.messages", 1500, "push messages that must survive")
	chaosKills    = flag.Int("chaos.kills", 2, "how often the service is killed")
	outageLasts   = flag.Duration("outage.lasts", 5*time.Second, "how long the provider is away")
)

// crashing is a stack whose servers can be killed.
type crashing struct {
	*stack
	postgres, rabbitmq *servers.Instance
}

func newCrashing(t *testing.T) crashing {
	t.Helper()
	s := newStack(t)
	own := func(start func(context.Context, servers.Options) (*servers.Instance, error)) *servers.Instance {
		i, err := start(t.Context(), servers.Options{Dir: t.TempDir()})
		if missing := (*servers.NotFoundError)(nil); errors.As(err, &missing) {
			t.Skip(err) // where all servers are given, or in containers
		}
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, i.Remove()) })
		return i
	}
	c := crashing{s, own(servers.StartPostgres), own(servers.StartRabbitMQ)}
	s.config.DatabaseURL, s.config.RabbitMQURL = c.postgres.URL, c.rabbitmq.URL
	return c
}

// flaky is an APNs that fails some requests, each in one of several ways, or all.
type flaky struct {
	failing int // of ten requests
	url     string
	keyFile string
	down    atomic.Bool
	asked   atomic.Int64

	mu       sync.Mutex
	accepted map[string]int // by collapse id
}

func newFlaky(t *testing.T, failing int) *flaky {
	t.Helper()
	f := &flaky{failing: failing, accepted: map[string]int{}, keyFile: servertest.NewAPNs(t).KeyFile}
	server := httptest.NewUnstartedServer(f)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.asked.Add(1)
	if f.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if rand.IntN(10) < f.failing {
		switch rand.IntN(3) {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			panic(http.ErrAbortHandler) // the connection breaks
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accepted[req.Header.Get("Apns-Collapse-Id")]++
}

func (f *flaky) count() (messages, duplicates int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.accepted {
		messages++
		duplicates += times - 1
	}
	return messages, duplicates
}

func (f *flaky) environment() []string {
	return []string{
		"PUSH_PROVIDER=apns", "APNS_KEY_FILE=" + f.keyFile, "APNS_KEY_ID=KEY1234567", "APNS_TEAM_ID=TEAM123456",
		"APNS_TOPIC=com.example.app", "APNS_BASE_URL=" + f.url, "MIGRATE_ON_START=true", "LOG_LEVEL=ERROR",
		"PUSH_RETRY_STEPS=500ms,1s,1500ms,2s,2500ms,3s,3500ms,4s,4500ms",
	}
}

// recipients are users who exist for push alone.
func recipients(t *testing.T, db *postgres.DB, n int) (ids []string) {
	t.Helper()
	require.NoError(t, db.Select(t.Context(), &ids, `
		INSERT INTO push.recipients (user_id, push_token, push_allowed)
		SELECT gen_random_uuid(), repeat(md5(n::text), 2), true FROM generate_series(1, $1) AS n RETURNING user_id::text`, n))
	return ids
}

// pushAll publishes so many messages, each with an id of its own, in turns to these users.
func pushAll(t *testing.T, url string, users []string, n int) {
	t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	var last *amqp.DeferredConfirmation
	for i := range n {
		message := pushBody(users[i%len(users)], fmt.Sprintf("chaos-%d", i))
		message.DeliveryMode = amqp.Persistent
		last, err = ch.PublishWithDeferredConfirm("notifications.direct", "push", true, false, message)
		require.NoError(t, err)
	}
	require.True(t, last.Wait())
}

// told reads the events of a queue that gathered them: how many outcomes each request was told to have.
func told(t *testing.T, url, queue string) map[string]map[string]bool {
	t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	outcomes := map[string]map[string]bool{}
	for {
		d, there, err := ch.Get(queue, true)
		require.NoError(t, err)
		if !there {
			return outcomes
		}
		var e event
		require.NoError(t, json.Unmarshal(d.Body, &e))
		id, _ := e.Data["request_id"].(string)
		if outcomes[id] == nil {
			outcomes[id] = map[string]bool{}
		}
		outcomes[id][e.ID] = true // an event may come twice; an outcome may not
	}
}

// TestCrashesLoseAndRepeatNoPushMessage kills the service, PostgreSQL and RabbitMQ while a provider
// fails three of ten requests.
func TestCrashesLoseAndRepeatNoPushMessage(t *testing.T) {
	t.Parallel()
	c, apple := newCrashing(t), newFlaky(t, 3)
	p := c.run(t, apple.environment()...)
	users := recipients(t, c.open(t), 200)
	const events = "chaos.events"
	conn, err := amqp.Dial(c.config.RabbitMQURL)
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare(events, true, false, false, false, nil)
	require.NoError(t, err)
	for _, outcome := range []string{"push.sent", "push.skipped", "push.failed"} {
		require.NoError(t, ch.QueueBind(events, outcome, "user.events", false, nil))
	}
	require.NoError(t, conn.Close())
	pushAll(t, c.config.RabbitMQURL, users, *chaosMessages)

	reaches := func(part, of int) {
		waitLong(t, func() bool { n, _ := apple.count(); return n >= *chaosMessages*part/of }, fmt.Sprintf("%d of %d parts are sent", part, of))
	}
	faults := *chaosKills + 2
	for n := range faults {
		reaches(n+1, faults+2)
		switch n {
		case faults / 3:
			require.NoError(t, c.rabbitmq.Kill())
			require.NoError(t, c.rabbitmq.Restart(t.Context()))
		case 2 * faults / 3:
			require.NoError(t, c.postgres.Kill())
			require.NoError(t, c.postgres.Restart(t.Context()))
		default:
			p.kill()
			p = c.run(t, apple.environment()...)
		}
	}
	db := c.open(t)
	finished := func() (n int) {
		// Nobody is kept waiting a minute, which the leases of the killed last (leaseFor in modules/push): who lives
		// is done with a message within 10 seconds.
		_, _ = db.Exec(t.Context(), `UPDATE push.deliveries SET lease_until = now() WHERE lease_until < now() + $1 * interval '1 second'`, 60-10)
		_ = db.Get(t.Context(), &n, `SELECT count(*) FROM push.deliveries WHERE status IN ('sent', 'skipped', 'failed')`)
		return n
	}
	waitLong(t, func() bool { return finished() == *chaosMessages }, "every message has its outcome")
	waitLong(t, func() bool { return count(t, db, `SELECT count(*) FROM messaging.outbox`) == 0 }, "every event is told")
	messages, duplicates := apple.count()
	require.Equal(t, *chaosMessages, count(t, db, `SELECT count(*) FROM push.deliveries`))
	require.Equal(t, messages, count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sent'`), "sent is what the provider has")
	require.LessOrEqual(t, duplicates, *chaosKills*32, "only what was in the works when the service was killed")
	outcomes := told(t, c.config.RabbitMQURL, events)
	require.Len(t, outcomes, *chaosMessages)
	for id, ids := range outcomes {
		require.Len(t, ids, 1, "outcomes of %s", id)
	}
	t.Logf("%d messages, %d sent, %d duplicates at the provider, %d requests to it", *chaosMessages, messages, duplicates, apple.asked.Load())
}

// TestBrokerThatIsKilledWhileItGivesBackLosesNothing, of what waited for another attempt.
func TestBrokerThatIsKilledWhileItGivesBackLosesNothing(t *testing.T) {
	t.Parallel()
	rabbitmq, err := servers.StartRabbitMQ(t.Context(), servers.Options{Dir: t.TempDir()})
	if missing := (*servers.NotFoundError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rabbitmq.Remove()) })
	topology := messaging.Topology{
		Exchange: "notifications.direct", DLX: "notifications.dlx", Events: "user.events", PushQueue: "push.queue", FailedQueue: "failed.queue",
		RetrySteps: []time.Duration{time.Second, time.Minute}, Logged: new(sync.Map),
	}
	conn, ch := dial(t, rabbitmq.URL)
	require.NoError(t, topology.Declare(conn, slog.New(slog.DiscardHandler)))
	const messages = 6000
	retries := topology.RetryQueues("push.queue")[:4] // of the first step; see Declare why not of the last
	confirms := make([]*amqp.DeferredConfirmation, messages)
	for n := range messages {
		confirms[n], err = ch.PublishWithDeferredConfirm("", retries[n%len(retries)], true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, MessageId: strconv.Itoa(n), Body: make([]byte, 400),
		})
		require.NoError(t, err)
	}
	for _, confirm := range confirms {
		require.True(t, confirm.Wait())
	}
	depth := func() int {
		q, err := ch.QueueDeclarePassive("push.queue", true, false, false, false, nil)
		require.NoError(t, err)
		return q.Messages
	}
	servertest.Eventually(t, func() bool { return depth() > 0 }, "the first come back")
	require.NoError(t, rabbitmq.Kill())
	require.NoError(t, rabbitmq.Restart(t.Context()))
	_, ch = dial(t, rabbitmq.URL)
	there := map[string]bool{}
	deliveries, err := ch.Consume("push.queue", "", true, false, false, false, nil)
	require.NoError(t, err)
	for len(there) < messages {
		select {
		case d := <-deliveries:
			there[d.MessageId] = true
		case <-time.After(15 * time.Second):
			require.Len(t, there, messages)
		}
	}
}

// dial opens a channel with confirms.
func dial(t *testing.T, url string) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	return conn, ch
}

// TestOutageOfTheProviderUnderLoad holds what comes meanwhile, asks now and then, and then sends all.
func TestOutageOfTheProviderUnderLoad(t *testing.T) {
	t.Parallel()
	s, apple := newStack(t), newFlaky(t, 0)
	s.run(t, apple.environment()...)
	users := recipients(t, s.open(t), 50)
	b := s.broker(t)
	apple.down.Store(true)
	sent := 0
	send := func() {
		b.push(pushBody(users[sent%len(users)], uuid.NewString()))
		sent++
	}
	for range 50 {
		send()
	}
	noticed := func() bool { return apple.asked.Load() >= tripAtMost }
	servertest.Eventually(t, noticed, "the outage is noticed")
	for asked := int64(-1); asked != apple.asked.Load(); { // those in the works find out for themselves
		asked = apple.asked.Load()
		<-time.After(time.Second)
	}
	before, start := apple.asked.Load(), time.Now()
	for ticker := time.NewTicker(50 * time.Millisecond); time.Since(start) < *outageLasts; <-ticker.C {
		send()
	}
	probes := float64(apple.asked.Load() - before)
	require.LessOrEqual(t, probes, 1+time.Since(start).Seconds(), "a probe a second at the most")
	require.Zero(t, b.length("failed.queue"))
	apple.down.Store(false)
	over := time.Now()
	db := s.open(t)
	waitLong(t, func() bool {
		return count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sent'`) == sent
	}, "all are sent")
	require.Zero(t, b.length("failed.queue"))
	t.Logf("outage of %s: %d messages, %.2f requests a second to the provider, all sent %s after it", *outageLasts, sent, probes/outageLasts.Seconds(), time.Since(over).Round(time.Second))
}

// tripAtMost is how many failures in a row no breaker lets pass.
const tripAtMost = 5

// waitLong waits as long as hundreds of retries may take.
func waitLong(t *testing.T, condition func() bool, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatal("did not come about in ten minutes: " + what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
