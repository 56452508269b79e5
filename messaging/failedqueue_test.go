package messaging

import (
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// failedQueue is that of b, with messages "0" to "4": each even one failed here, the others were
// rejected by somebody else.
func (b *broker) failedQueue(t *testing.T) FailedQueue {
	t.Helper()
	for n := range 5 {
		m := amqp.Publishing{MessageId: strconv.Itoa(n), Body: []byte("{}"), Priority: 3}
		if n%2 == 0 {
			m.Headers = amqp.Table{
				"x-failure-reason": "malformed", "x-failure-detail": "because", "x-original-queue": "push.queue", "x-attempts": int64(n),
				"x-failed-at": time.Now().Add(-time.Duration(n) * time.Hour),
			}
			require.NoError(t, b.ch.PublishWithContext(t.Context(), "notifications.dlx", "failed", true, false, m))
		} else {
			require.NoError(t, b.ch.PublishWithContext(t.Context(), "", "email.queue", true, false, m))
			d := b.take1(t, "email.queue")
			require.NoError(t, d.Nack(false, false))
		}
		servertest.Eventually(t, func() bool { return b.depth(t, "failed.queue") == n+1 }, "the message is in the failed queue")
	}
	conn := b.connect(t)
	return FailedQueue{Connection: conn, Publisher: NewPublisher(conn), Topology: b.topology}
}

// take1 leaves it to the test to settle the message.
func (b *broker) take1(t *testing.T, queue string) (d amqp.Delivery) {
	t.Helper()
	servertest.Eventually(t, func() bool {
		var there bool
		var err error
		d, there, err = b.ch.Get(queue, false)
		require.NoError(t, err)
		return there
	}, "a message in %s", queue)
	return d
}

// walk gives the ids that were seen, in order.
func walk(t *testing.T, q FailedQueue, verdicts map[string]Verdict, stopAt string) (seen string) {
	t.Helper()
	_, err := q.Walk(t.Context(), func(n, of int, letter DeadLetter) (Verdict, bool) {
		require.Equal(t, len(seen)+1, n)
		require.Positive(t, of)
		seen += letter.MessageID
		return verdicts[letter.MessageID], letter.MessageID != stopAt
	})
	require.NoError(t, err)
	return seen
}

func TestDeadLettersKeepTheirPlacesUntilSomethingIsDoneWithThem(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	q := b.failedQueue(t)
	_, err := q.Walk(t.Context(), func(n, _ int, letter DeadLetter) (Verdict, bool) {
		if n%2 == 1 {
			require.Equal(t, [3]string{"malformed", "because", "push.queue"}, [3]string{letter.Reason, letter.Detail, letter.Queue})
			require.Equal(t, n-1, letter.Attempt)
			require.WithinDuration(t, time.Now().Add(-time.Duration(n-1)*time.Hour), letter.FailedAt, time.Minute)
		} else {
			require.Equal(t, [3]string{"rejected", "", "email.queue"}, [3]string{letter.Reason, letter.Detail, letter.Queue})
			require.WithinDuration(t, time.Now(), letter.FailedAt, time.Minute)
		}
		require.True(t, letter.Reason == "rejected" || letter.MovedBack)
		return Keep, true
	})
	require.NoError(t, err)
	require.Equal(t, "01", walk(t, q, nil, "1"), "until it has seen enough")
	require.Equal(t, "01234", walk(t, q, map[string]Verdict{"0": Requeue, "1": Requeue, "3": Drop}, ""))
	require.Equal(t, "24", walk(t, q, nil, ""))

	back, mail := b.take(t, "push.queue"), b.take(t, "email.queue")
	require.Equal(t, "0", back.MessageId)
	require.Equal(t, "malformed", back.Headers["x-failure-reason"], "by which it is known to have been moved back")
	require.Equal(t, uint8(3), back.Priority)
	require.Equal(t, amqp.Persistent, back.DeliveryMode)
	require.Equal(t, "1", mail.MessageId, "each where it came from")
	require.Zero(t, b.depth(t, "push.queue")+b.depth(t, "email.queue"))
}

func TestWhatAWalkKeepsIsBackWhenItEnds(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	q := b.failedQueue(t)
	for range 100 {
		seen := ""
		_, err := q.Walk(t.Context(), func(_, of int, letter DeadLetter) (Verdict, bool) {
			require.Equal(t, 5, of)
			seen += letter.MessageID
			return Keep, true
		})
		require.NoError(t, err)
		require.Equal(t, "01234", seen)
	}
}

func TestDeadLetterOfAQueueThatIsGoneStaysAndIsNamed(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for range 2 {
		require.NoError(t, b.ch.PublishWithContext(t.Context(), "notifications.dlx", "failed", true, false, amqp.Publishing{
			Headers: amqp.Table{"x-original-queue": "gone.queue"}, Body: []byte("{}"),
		}))
	}
	servertest.Eventually(t, func() bool { return b.depth(t, "failed.queue") == 2 }, "both are there")
	conn := b.connect(t)
	q := FailedQueue{Connection: conn, Publisher: NewPublisher(conn), Topology: b.topology}
	require.NoError(t, b.ch.PublishWithContext(t.Context(), "notifications.dlx", "failed", true, false, amqp.Publishing{Body: []byte("behind them")}))
	servertest.Eventually(t, func() bool { return b.depth(t, "failed.queue") == 3 }, "all are there")
	walked, err := q.Walk(t.Context(), func(int, int, DeadLetter) (Verdict, bool) { return Requeue, true })
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, []int{walked.Done, walked.Stuck}, "they do not hold up the one behind them")
	require.ErrorContains(t, walked.Why, "gone.queue")
	require.NotContains(t, walked.Why.Error(), "user_service:", "no secret")
	servertest.Eventually(t, func() bool { return b.depth(t, "failed.queue") == 2 }, "nothing is lost")
}
