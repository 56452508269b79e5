package messaging

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Delivery is one message of a queue as its handler sees it.
type Delivery struct {
	Body      []byte
	MessageID string    // AMQP property; "" when the producer set none
	Priority  int       // AMQP property
	Time      time.Time // AMQP property timestamp; zero when the producer set none
	Attempt   int       // 1 for the first
	MovedBack bool      // from the failed queue: it is to be handled although it has failed for good

	// Stopping is closed when the consumer stops: what has begun is finished, and what has not is ErrStopping. nil: it never does.
	Stopping <-chan struct{}
}

const (
	headerAttempts = "x-attempts"
	headerReason   = "x-failure-reason"
	headerDetail   = "x-failure-detail"
	headerOrigin   = "x-original-queue"
	headerFailedAt = "x-failed-at"

	headerNotBefore = "x-not-before" // milliseconds since 1970
	headerMovedBack = "x-moved-back" // it was, and has been retried since
)

// maxNotBefore bounds what a foreign header can ask for.
const maxNotBefore = 24 * time.Hour

// notBefore is when a message may be handled; long ago for almost every one.
func notBefore(msg *message.Message) time.Time {
	text := msg.Metadata[headerNotBefore]
	if text == "" {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	at := time.UnixMilli(ms)
	if err != nil || time.Until(at) > maxNotBefore {
		return time.Time{}
	}
	return at
}

// maxAttempts bounds what a foreign header can claim.
const maxAttempts = 1000

func deliveryFrom(msg *message.Message) Delivery {
	d := deliveryOf(msg)
	return Delivery{
		Body: d.Body, MessageID: d.MessageId, Priority: int(d.Priority), Time: d.Timestamp,
		Attempt: attemptsBefore(msg) + 1, MovedBack: movedBack(msg),
	}
}

func movedBack(msg *message.Message) bool {
	return failedBefore(msg) || msg.Metadata[headerMovedBack] != ""
}

// failedBefore tells a message that comes from the failed queue, by whatever hand.
func failedBefore(msg *message.Message) bool { return msg.Metadata[headerReason] != "" }

// attemptsBefore starts anew with a message that was moved back.
func attemptsBefore(msg *message.Message) int {
	if failedBefore(msg) {
		return 0
	}
	return attemptsTold(msg)
}

func attemptsTold(msg *message.Message) int {
	text := msg.Metadata[headerAttempts]
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxAttempts {
		return 0
	}
	return n
}
