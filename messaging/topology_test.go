package messaging

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// manage reads what the management API has to say of a thing in the broker's virtual host. The
// kind comes first: queues, exchanges, bindings.
func (b *broker) manage(t testing.TB, kind, rest string, into any) {
	t.Helper()
	u, err := url.Parse(b.url)
	require.NoError(t, err)
	path := "/api/" + kind + u.Path + rest
	require.NoError(t, json.Unmarshal(servertest.Manage(t, http.MethodGet, path, ""), into))
}

func TestTopologyIsTheContracts(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 10*time.Second, time.Minute, 10*time.Minute, time.Hour)
	b.requireTopology(t)
	b.topology.OwnMail, b.topology.TellsStatus = true, true
	require.NoError(t, b.topology.Declare(dial(t, b.url), silent))
	b.requireTopology(t)
}

// requireTopology compares what the broker has with the contract, and with what is kept for mails.
func (b *broker) requireTopology(t *testing.T) {
	t.Helper()
	type thing struct {
		Name      string
		Type      string
		Durable   bool
		Arguments map[string]any
	}
	work := map[string]any{"x-dead-letter-exchange": "notifications.dlx", "x-dead-letter-routing-key": "failed", "x-max-priority": 10.0}
	wanted := map[string]map[string]any{"email.queue": work, "push.queue": work, "failed.queue": {}}
	retried := map[string]string{"push.queue": "push.retry."}
	if b.topology.OwnMail {
		wanted[MailQueue], retried[MailQueue] = work, "user-service.email.retry."
	}
	bound := map[string]bool{
		"notifications.direct email email.queue": true, "notifications.direct push push.queue": true,
		"notifications.dlx failed failed.queue": true,
	}
	if b.topology.TellsStatus {
		status := maps.Clone(work)
		status["x-expires"] = float64(7 * 24 * 3_600_000)
		wanted[StatusQueue], retried[StatusQueue] = status, "user-service.status.retry."
		for _, event := range []string{"sent", "skipped", "failed", "retried"} {
			bound["user.events push."+event+" "+StatusQueue] = true
		}
	}
	for queue, prefix := range retried {
		for step, milliseconds := range map[string]float64{
			"10s": 10_000, "10.5s": 10_500, "11s": 11_000, "11.5s": 11_500, "1m": 60_000, "1m3s": 63_000, "1m6s": 66_000, "1m9s": 69_000,
			"10m": 600_000, "10m30s": 630_000, "11m": 660_000, "11m30s": 690_000,
			"1h": 3_600_000, "1h3m": 3_780_000, "1h6m": 3_960_000, "1h9m": 4_140_000,
		} {
			wanted[prefix+step] = map[string]any{
				"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-message-ttl": milliseconds,
				"x-dead-letter-strategy": "at-least-once", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue,
			}
		}
	}
	var queues []thing
	b.manage(t, "queues", "", &queues)
	require.Len(t, queues, len(wanted))
	for _, q := range queues {
		require.True(t, q.Durable, q.Name)
		require.Equal(t, wanted[q.Name], q.Arguments, q.Name)
	}

	for name, kind := range map[string]string{"notifications.direct": "direct", "notifications.dlx": "direct", "user.events": "topic"} {
		var e thing
		b.manage(t, "exchanges", "/"+name, &e)
		require.Equal(t, thing{Name: name, Type: kind, Durable: true, Arguments: map[string]any{}}, e)
	}

	var bindings []struct {
		Source, Destination string
		RoutingKey          string `json:"routing_key"`
	}
	b.manage(t, "bindings", "", &bindings)
	got := map[string]bool{}
	for _, binding := range bindings {
		if binding.Source != "" { // the default exchange has them all
			got[binding.Source+" "+binding.RoutingKey+" "+binding.Destination] = true
		}
	}
	require.Equal(t, bound, got)
}

func TestQueueDeclaredOtherwiseIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for _, args := range []amqp.Table{nil, {"x-max-length": 1000}, {"x-queue-type": "quorum"}} {
		_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
		require.NoError(t, err)
		_, err = b.ch.QueueDeclare(b.topology.PushQueue, true, false, false, false, args)
		require.NoError(t, err)
		stop := b.consumeInto(t, nil)
		b.put(t, amqp.Publishing{MessageId: "1"}) // it was bound, too
		servertest.Eventually(t, func() bool { return b.consumers(t, b.topology.PushQueue) == 1 && b.depth(t, b.topology.PushQueue) == 0 }, "handled")
		stop()
	}
}

func TestExchangeDeclaredOtherwiseIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	require.NoError(t, b.ch.ExchangeDelete(b.topology.Events, false, false))
	require.NoError(t, b.ch.ExchangeDeclare(b.topology.Events, amqp.ExchangeFanout, false, false, false, false, nil))
	arrived := b.listen(t)
	require.NoError(t, NewPublisher(b.connect(t)).publish(t.Context(), outgoing{exchange: b.topology.Events, key: "any"}))
	receive(t, arrived)
}

func TestDifferenceIsSaidOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	_, err := b.ch.QueueDelete(b.topology.PushQueue, false, false, false)
	require.NoError(t, err)
	_, err = b.ch.QueueDeclare(b.topology.PushQueue, true, false, false, false, nil)
	require.NoError(t, err)

	var said bytes.Buffer
	conn := dial(t, b.url)
	for range 3 {
		require.NoError(t, b.topology.Declare(conn, slog.New(slog.NewTextHandler(&said, nil))))
	}
	require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), said.String())
	require.Contains(t, said.String(), "inequivalent arg")
	require.Contains(t, said.String(), `what="queue push.queue"`)
}

func TestManyMayDeclareAtOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for _, queue := range append(b.topology.RetryQueues(b.topology.PushQueue), b.topology.PushQueue, b.topology.FailedQueue) {
		_, err := b.ch.QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		conn := dial(t, b.url)
		wg.Go(func() { require.NoError(t, b.topology.Declare(conn, silent)) })
	}
	wg.Wait()
}

func TestUserWhoMayNotDeclareUsesWhatIsThere(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	u, err := url.Parse(b.url)
	require.NoError(t, err)
	user := "modest-" + strings.TrimPrefix(u.Path, "/")
	servertest.Manage(t, http.MethodPut, "/api/users/"+user, `{"password":"modest","tags":""}`)
	t.Cleanup(func() { servertest.Manage(t, http.MethodDelete, "/api/users/"+user, "") })
	servertest.Manage(t, http.MethodPut, "/api/permissions"+u.Path+"/"+user, `{"configure":"^$","write":"^notifications|^amq.default$","read":".*"}`)
	u.User = url.UserPassword(user, "modest")

	p := NewPublisher(b.connectTo(t, u.String()))
	require.NoError(t, p.publish(t.Context(), b.toPush("1")))
}
