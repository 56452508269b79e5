package messaging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
	"user-service/platform/fault"
	"user-service/platform/servertest"
)

func TestTransientFailureWaitsOutsideTheQueueAndComesBack(t *testing.T) {
	t.Parallel()
	b := newBroker(t, time.Second, 400*time.Millisecond)
	type try struct {
		at  time.Time
		d   Delivery
		ids correlation.IDs
	}
	tries := make(chan try, 10)
	stop := b.consume(t, Consumer{Prefetch: 1, Concurrency: 1, Handle: func(ctx context.Context, d Delivery) error {
		d.Stopping = nil
		tries <- try{time.Now(), d, correlation.From(ctx)}
		if d.Attempt <= 2 && d.MessageID == "slow" {
			return errors.New("for now")
		}
		return nil
	}})
	b.put(t, amqp.Publishing{MessageId: "slow", Body: []byte("body"), Priority: 7, Headers: everyHeader()})
	b.put(t, amqp.Publishing{MessageId: "quick"})

	one, quick, two, three := <-tries, <-tries, <-tries, <-tries
	require.Equal(t, "quick", quick.d.MessageID, "it blocks no other")
	require.Equal(t, Delivery{Body: []byte("body"), MessageID: "slow", Priority: 7, Attempt: 1}, one.d)
	require.Equal(t, Delivery{Body: []byte("body"), MessageID: "slow", Priority: urgent, Attempt: 2}, two.d)
	require.Equal(t, Delivery{Body: []byte("body"), MessageID: "slow", Priority: urgent, Attempt: 3}, three.d)
	require.GreaterOrEqual(t, two.at.Sub(one.at), time.Second)
	require.GreaterOrEqual(t, three.at.Sub(two.at), 400*time.Millisecond)
	require.NotEmpty(t, one.ids.Correlation)
	require.Equal(t, one.ids, three.ids, "one correlation id for all attempts")
	b.requireSettled(t, stop)
}

func TestMessageWhoseAttemptsAreUsedUpFails(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	told := make(chan Delivery, 1)
	stop := b.consume(t, Consumer{
		Handle: func(context.Context, Delivery) error { return errors.New("as always") },
		Failed: func(_ context.Context, d Delivery, why *Permanent) error {
			require.Equal(t, "attempts_exhausted", why.Reason)
			told <- d
			return nil
		},
	})
	b.put(t, amqp.Publishing{MessageId: "1", Headers: everyHeader()})
	require.Equal(t, 3, (<-told).Attempt)
	got := b.take(t, b.topology.FailedQueue)
	require.Equal(t, "attempts_exhausted", got.Headers["x-failure-reason"])
	require.Equal(t, "3 attempts, the last: as always", got.Headers["x-failure-detail"])
	require.Equal(t, int64(3), got.Headers["x-attempts"])
	require.Equal(t, "push.queue", got.Headers["x-original-queue"])
	for name, value := range everyHeader() {
		if name != "x-death" { // the broker adds the retry queues to it
			require.Equal(t, value, got.Headers[name], name)
		}
	}
	b.requireSettled(t, stop)
}

func TestPanicIsAnAttempt(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	breaker := new(fakeBreaker)
	stop := b.consume(t, Consumer{Breaker: breaker, Handle: func(context.Context, Delivery) error { panic("a bug") }})
	b.put(t, amqp.Publishing{MessageId: "1"})
	got := b.take(t, b.topology.FailedQueue)
	require.Equal(t, "attempts_exhausted", got.Headers["x-failure-reason"])
	require.Contains(t, got.Headers["x-failure-detail"], "a bug")
	require.Equal(t, int64(3), got.Headers["x-attempts"])
	b.requireSettled(t, stop)
	require.Zero(t, breaker.passed.Load(), "the breaker's place is given back")
}

func TestOutageOfOursIsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]error{
		"server away": fmt.Errorf("read the recipient: %w", fault.Away(errors.New("connection refused"))),
		"blameless":   &Transient{Cause: errors.New("not tried"), Blameless: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			attempts := make(chan int, 20)
			var tries atomic.Int64
			stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
				attempts <- d.Attempt
				if tries.Add(1) < 6 { // more than there are steps
					return outage
				}
				return nil
			}})
			b.put(t, amqp.Publishing{})
			for range 6 {
				require.Equal(t, 1, <-attempts)
			}
			b.requireSettled(t, stop)
		})
	}
}

// TestMessageThatWasMovedBackIsKnownAsSuchUntilItHasItsFate although it had to wait once more.
func TestMessageThatWasMovedBackIsKnownAsSuchUntilItHasItsFate(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	seen := make(chan Delivery, 10)
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		seen <- d
		if len(seen) < 3 {
			return errors.New("for now")
		}
		return refuse(t.Context(), d)
	}})
	b.put(t, amqp.Publishing{Headers: amqp.Table{headerReason: "malformed", headerAttempts: int64(7)}})
	got := b.take(t, b.topology.FailedQueue)
	for attempt := 1; attempt <= 3; attempt++ {
		d := <-seen
		require.Equal(t, []any{attempt, true}, []any{d.Attempt, d.MovedBack})
	}
	require.NotContains(t, got.Headers, headerMovedBack)
	b.requireSettled(t, stop)
}

// TestDeathsThatAMessageBringsAlongDoNotLoseIt when it dies once more, of waiting for its next try.
func TestDeathsThatAMessageBringsAlongDoNotLoseIt(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	attempts := make(chan int, 2)
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		if attempts <- d.Attempt; d.Attempt == 1 {
			return errors.New("for now")
		}
		return nil
	}})
	death := amqp.Table{
		"queue": b.topology.PushQueue, "reason": "expired", "count": int64(1), "exchange": "", "time": time.Now(), "routing-keys": []any{"push"},
	}
	b.put(t, amqp.Publishing{Headers: amqp.Table{"x-death": []any{death}, "x-first-death-queue": b.topology.PushQueue, "x-first-death-reason": "expired"}})
	require.Equal(t, 1, <-attempts)
	require.Equal(t, 2, <-attempts)
	b.requireSettled(t, stop)
}

// TestWaitsAreSpreadAndNeverShorterThanTheirStep, and no message waits for one that is more urgent.
func TestWaitsAreSpreadAndNeverShorterThanTheirStep(t *testing.T) {
	t.Parallel()
	for _, wait := range waits(10 * time.Second) {
		require.GreaterOrEqual(t, wait, 10*time.Second)
	}
	b := newBroker(t, time.Hour)
	stop := b.consume(t, Consumer{Handle: func(context.Context, Delivery) error { return errors.New("for now") }})
	const messages = 60
	for n := range messages {
		b.put(t, amqp.Publishing{Priority: uint8(n % 10)})
	}
	servertest.Eventually(t, func() bool {
		waiting := 0
		for _, queue := range b.topology.RetryQueues(b.topology.PushQueue) {
			waiting += b.depth(t, queue)
		}
		return waiting == messages
	}, "all wait")
	for _, queue := range b.topology.RetryQueues(b.topology.PushQueue) {
		require.Positive(t, b.depth(t, queue), queue)
		first, _, err := b.ch.Get(queue, true)
		require.NoError(t, err)
		for range b.depth(t, queue) {
			d, _, err := b.ch.Get(queue, true)
			require.NoError(t, err)
			require.Equal(t, first.Priority, d.Priority, "none is put before another")
		}
	}
	stop()
}

func TestRetryIsPlannedByTheStepsAndByWhatTheOtherSideAsks(t *testing.T) {
	t.Parallel()
	const quick, slow, slower = 10 * time.Second, time.Minute, 10 * time.Minute
	r := retry{topology: Topology{RetrySteps: []time.Duration{quick, slow, slower}}}
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		before   any
		err      error
		attempts int
		wait     time.Duration
	}{
		"first":                           {nil, plain, 1, quick},
		"second":                          {int64(1), plain, 2, slow},
		"last":                            {int64(2), plain, 3, slower},
		"used up":                         {int64(3), plain, 4, slower},
		"attempts as text":                {"1", plain, 2, slow},
		"attempts that are none":          {"many", plain, 1, quick},
		"attempts below zero":             {int64(-5), plain, 1, quick},
		"attempts beyond all bounds":      {int64(1 << 40), plain, 1, quick},
		"asked for a later step":          {nil, &Transient{Cause: plain, RetryAfter: 70 * time.Second}, 1, slow},
		"asked for just this step":        {nil, &Transient{Cause: plain, RetryAfter: quick}, 1, quick},
		"asked for an earlier step":       {int64(2), &Transient{Cause: plain, RetryAfter: time.Second}, 3, slower},
		"asked for more than there is":    {nil, &Transient{Cause: plain, RetryAfter: time.Hour}, 1, slower},
		"wrapped":                         {nil, fmt.Errorf("send: %w", &Transient{Cause: plain, RetryAfter: slow}), 1, slow},
		"blameless":                       {int64(2), &Transient{Cause: plain, Blameless: true}, 2, quick},
		"blameless, asked for a later":    {int64(2), &Transient{Cause: plain, Blameless: true, RetryAfter: slow}, 2, slow},
		"ours is away":                    {int64(2), fault.Away(plain), 2, quick},
		"ours is away, as a cause of its": {nil, &Transient{Cause: fault.Away(plain)}, 0, quick},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := amqp.Delivery{}
			if test.before != nil {
				d.Headers = amqp.Table{headerAttempts: test.before}
			}
			msg, err := marshaler{}.Unmarshal(d)
			require.NoError(t, err)
			attempts, wait, until := r.plan(msg, test.err)
			require.Equal(t, strings.Contains(name, "asked for a later") || strings.Contains(name, "asked for more") || name == "wrapped", !until.IsZero())
			require.Equal(t, test.attempts, attempts)
			require.Equal(t, test.wait, wait)
		})
	}
}

func TestDeletedRetryQueueIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	attempts := make(chan int, 10)
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		attempts <- d.Attempt
		if d.Attempt == 1 {
			return errors.New("for now")
		}
		return nil
	}})
	for _, queue := range b.topology.RetryQueues(b.topology.PushQueue) {
		_, err := b.ch.QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	}
	b.put(t, amqp.Publishing{})
	for <-attempts != 2 {
	}
	b.requireSettled(t, stop)
}

func TestMessageWaitsInTheBrokerWhileNobodyConsumes(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 500*time.Millisecond)
	tried := make(chan struct{}, 1)
	stop := b.consume(t, Consumer{Handle: func(context.Context, Delivery) error {
		tried <- struct{}{}
		return errors.New("for now")
	}})
	b.put(t, amqp.Publishing{MessageId: "1"})
	<-tried
	stop()
	got := b.take(t, b.topology.PushQueue)
	require.Equal(t, "1", got.MessageId)
	require.Equal(t, int64(1), got.Headers["x-attempts"])
}

// TestWaitLongerThanEveryStepIsKept has the other side ask for more than the longest step: the message
// goes round, and no attempt is made or counted before its time.
func TestWaitLongerThanEveryStepIsKept(t *testing.T) {
	t.Parallel()
	b := newBroker(t) // its longest step is shorter than this
	asked := 3 * b.topology.RetrySteps[len(b.topology.RetrySteps)-1]
	type try struct {
		at      time.Time
		attempt int
	}
	tries := make(chan try, 10)
	stop := b.consume(t, Consumer{Handle: func(_ context.Context, d Delivery) error {
		tries <- try{time.Now(), d.Attempt}
		if d.Attempt == 1 {
			return &Transient{Cause: errors.New("later"), RetryAfter: asked}
		}
		return nil
	}})
	b.put(t, amqp.Publishing{MessageId: "1"})
	first, second := <-tries, <-tries
	require.GreaterOrEqual(t, second.at.Sub(first.at), asked-10*time.Millisecond)
	require.Equal(t, 2, second.attempt)
	b.requireSettled(t, stop)
}
