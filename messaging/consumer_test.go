package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// everyHeader has a header of every AMQP type.
func everyHeader() amqp.Table {
	return amqp.Table{
		"text": "grüße", "bytes": []byte{0, 255}, "true": true, "byte": byte(200), "int8": int8(-8), "int16": int16(-16),
		"int32": int32(-32), "int64": int64(-64), "uint16": uint16(16), "uint32": uint32(32), "float": float32(1.5), "double": 2.5,
		"decimal": amqp.Decimal{Scale: 2, Value: 314}, "time": time.Unix(1_700_000_000, 0), "nil": nil,
		"table":            amqp.Table{"inner": amqp.Table{"deep": int32(1)}},
		"array":            []any{"a", int64(1), nil, amqp.Table{"b": true}},
		"x-delivery-count": int64(3),
		"x-death": []any{amqp.Table{"queue": "other.queue", "reason": "rejected", "count": int64(1), "exchange": "",
			"time": time.Unix(1_700_000_000, 0), "routing-keys": []any{"other"}}},
	}
}

func TestMessageWithAnyHeaderIsHandledOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	deliveries := make(chan Delivery, 100)
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		assert.NotNil(t, d.Stopping)
		d.Stopping = nil
		deliveries <- d
		return nil
	}})
	all := everyHeader()
	b.put(t, amqp.Publishing{Headers: all, MessageId: "all", Body: []byte("body"), Priority: 3})
	d := <-deliveries
	require.Equal(t, Delivery{Body: []byte("body"), MessageID: "all", Priority: 3, Attempt: 1}, d)
	for name, value := range all {
		b.put(t, amqp.Publishing{Headers: amqp.Table{name: value}, MessageId: name})
		require.Equal(t, name, (<-deliveries).MessageID)
	}
	b.put(t, amqp.Publishing{}) // as bare as can be
	require.Equal(t, Delivery{Body: []byte{}, Attempt: 1}, <-deliveries)
	b.requireSettled(t, stop)
	require.Empty(t, deliveries)
}

// requireSettled stops a consumer and finds no message given back, none waiting and none failed.
func (b *broker) requireSettled(t testing.TB, stop func()) {
	t.Helper()
	stop()
	queues := []string{b.topology.PushQueue, b.topology.FailedQueue}
	queues = append(queues, b.topology.RetryQueues(b.topology.PushQueue)...)
	for _, queue := range queues {
		require.Zero(t, b.depth(t, queue), queue)
	}
}

// refuse is a handler that can handle nothing.
func refuse(context.Context, Delivery) error {
	return &Permanent{Reason: "malformed", Detail: "not a push message"}
}

func TestMessageThatNeverCanBeHandledGoesToTheFailedQueueAsItCame(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var tries atomic.Int64
	stop := b.consume(t, Consumer{Handle: func(ctx context.Context, d Delivery) error {
		tries.Add(1)
		return refuse(ctx, d)
	}})
	bodies := []string{"", "[]", `{"user_id":`, "\x00\xff\xfe", `{"user_id":null}`}
	for _, body := range bodies {
		sent := amqp.Publishing{
			Headers: everyHeader(), Body: []byte(body), ContentType: "text/plain", ContentEncoding: "identity", Priority: 4,
			CorrelationId: "not valid!", ReplyTo: "reply", MessageId: "id", Timestamp: time.Unix(1_700_000_000, 0), Type: "type", AppId: "app",
		}
		b.put(t, sent)
		got := b.take(t, b.topology.FailedQueue)

		require.Equal(t, body, string(got.Body))
		requireSameProperties(t, got, sent)
		require.Equal(t, amqp.Persistent, got.DeliveryMode)
		want := everyHeader()
		want["x-failure-reason"], want["x-failure-detail"] = "malformed", "not a push message"
		want["x-attempts"], want["x-original-queue"] = int64(1), "push.queue"
		require.WithinDuration(t, time.Now(), got.Headers["x-failed-at"].(time.Time), time.Minute)
		delete(got.Headers, "x-failed-at")
		require.Equal(t, want, got.Headers)
	}
	b.requireSettled(t, stop)
	require.Equal(t, int64(len(bodies)), tries.Load())
}

func TestWhatWouldChangeTheFateOfACopyIsLeftOut(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	stop := b.consume(t, Consumer{Handle: func(ctx context.Context, d Delivery) error {
		if d.Attempt == 1 {
			return errors.New("for now") // through a retry queue, and by the default exchange
		}
		return refuse(ctx, d)
	}})
	u, err := url.Parse(b.url)
	require.NoError(t, err)

	// Over the connection of a user of its own: the broker lets nobody else say this user_id.
	user := "producer-" + strings.TrimPrefix(u.Path, "/")
	servertest.Manage(t, http.MethodPut, "/api/users/"+user, `{"password":"producer","tags":""}`)
	t.Cleanup(func() { servertest.Manage(t, http.MethodDelete, "/api/users/"+user, "") })
	servertest.Manage(t, http.MethodPut, "/api/permissions"+u.Path+"/"+user, `{"configure":".*","write":".*","read":".*"}`)
	u.User = url.UserPassword(user, "producer")
	ch := open(t, dial(t, u.String()))
	require.NoError(t, ch.PublishWithContext(t.Context(), b.topology.Exchange, pushKey, true, false, amqp.Publishing{
		UserId: user, Expiration: "60000", Headers: amqp.Table{"CC": []any{emailQueue}, "BCC": []any{emailQueue}, "kept": "yes"},
	}))

	got := b.take(t, b.topology.FailedQueue)
	require.Empty(t, got.Expiration)
	require.Empty(t, got.UserId)
	require.NotContains(t, got.Headers, "CC")
	require.Equal(t, "yes", got.Headers["kept"])
	b.requireSettled(t, stop)
	require.Zero(t, b.depth(t, emailQueue), "a key of that name is bound only to the default exchange")
}

func TestHeadersNearTheLimitOfAFrameDoNotLoop(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var tries atomic.Int64
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		tries.Add(1)
		return &Permanent{Reason: "malformed", Detail: strings.Repeat("ü", maxDetail)}
	}})
	b.put(t, amqp.Publishing{Headers: amqp.Table{"big": strings.Repeat("x", 120<<10)}, Body: []byte("body"), MessageId: "big"})
	big := b.take(t, b.topology.FailedQueue)
	require.Equal(t, "big", big.MessageId)
	require.Equal(t, "body", string(big.Body))
	require.Equal(t, "malformed", big.Headers["x-failure-reason"])
	require.NotContains(t, big.Headers, "big")
	require.Equal(t, strings.Repeat("ü", maxDetail/2), big.Headers["x-failure-detail"])

	b.put(t, amqp.Publishing{Headers: amqp.Table{"fits": strings.Repeat("x", 60<<10)}})
	require.Contains(t, b.take(t, b.topology.FailedQueue).Headers, "fits")
	b.requireSettled(t, stop)
	require.Equal(t, int64(2), tries.Load())
}

func TestFailureIsToldOnceTheMessageIsSafe(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	type told struct {
		d    Delivery
		why  Permanent
		safe int
	}
	var calls atomic.Int64
	tell := make(chan told, 10)
	stop := b.consume(t, Consumer{Handle: refuse, Failed: func(ctx context.Context, d Delivery, why *Permanent) error {
		switch calls.Add(1) {
		case 1:
			return errors.New("the database is away")
		case 2:
			panic("worse")
		}
		tell <- told{d, *why, b.depth(t, b.topology.FailedQueue)}
		return ctx.Err()
	}})
	b.put(t, amqp.Publishing{MessageId: "1", Body: []byte("body")})
	require.Equal(t, told{Delivery{Body: []byte("body"), MessageID: "1", Attempt: 1}, Permanent{Reason: "malformed", Detail: "not a push message"}, 1}, <-tell)
	require.Equal(t, "1", b.take(t, b.topology.FailedQueue).MessageId)
	b.requireSettled(t, stop) // insisting made no second dead letter
	require.Equal(t, int64(3), calls.Load())
}

func TestDeletedFailedQueueIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	safe := make(chan struct{})
	b.consume(t, Consumer{Handle: refuse, Failed: func(context.Context, Delivery, *Permanent) error {
		close(safe)
		return nil
	}})
	_, err := b.ch.QueueDelete(b.topology.FailedQueue, false, false, false)
	require.NoError(t, err)
	b.put(t, amqp.Publishing{MessageId: "1"})
	<-safe
	require.Equal(t, "1", b.take(t, b.topology.FailedQueue).MessageId)
}

func TestNothingIsLostInABurst(t *testing.T) {
	t.Parallel()
	const messages = 400
	b := newBroker(t)
	var mu sync.Mutex
	handled := map[string]bool{}
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		n, err := strconv.Atoi(d.MessageID)
		switch {
		case err != nil:
			return err
		case n%10 == 0:
			return &Permanent{Reason: "malformed", Detail: ""}
		case n%10 == 1 && d.Attempt < 3:
			return errors.New("for now")
		}
		mu.Lock()
		defer mu.Unlock()
		handled[d.MessageID] = true
		return nil
	}})
	for i := range messages {
		b.put(t, amqp.Publishing{MessageId: strconv.Itoa(i)})
	}
	servertest.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) == messages*9/10
	}, "all handled")
	for range messages / 10 {
		b.take(t, b.topology.FailedQueue)
	}
	b.requireSettled(t, stop)
}

func TestBodyReachesTheHandlerByteForByte(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	bodies := make(chan []byte, 1)
	b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		bodies <- d.Body
		return nil
	}})
	big, err := json.Marshal(map[string]string{"text": strings.Repeat("\u2028🎉\x00", 100_000)}) // many frames
	require.NoError(t, err)
	b.put(t, amqp.Publishing{Body: big})
	require.Equal(t, big, <-bodies)
}
