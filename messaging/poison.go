package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"user-service/platform/fault"
)

// poison moves messages that can never be handled to the failed queue. Watermill's PoisonQueue
// would lose the headers' types, and names its reasons its own way.
type poison struct {
	publisher *Publisher
	topology  Topology
	queue     string                                                      // where the messages come from
	failed    func(ctx context.Context, d Delivery, why *Permanent) error // may be nil
	log       *slog.Logger
	stopping  <-chan struct{}
}

func (p poison) middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := next(msg)
		why, ok := permanent(err)
		if !ok {
			return produced, err
		}
		// Safe first, recorded then: a crash in between repeats the dead letter, and loses nothing.
		if err := p.publisher.publish(msg.Context(), p.deadLetter(msg, why)); err != nil {
			return nil, err
		}
		noteFate(msg, "failed", why.Reason)
		if p.failed == nil {
			return nil, nil
		}
		return nil, p.record(msg, why)
	}
}

// maxRecords bounds how often a failure is recorded in vain, outages of ours not counted.
const maxRecords = 5

// record insists: to give the message back would put it into the failed queue once more. But what
// cannot be recorded at all must not hold a slot for ever.
func (p poison) record(msg *message.Message, why *Permanent) error {
	for tries := 0; tries < maxRecords; {
		err := p.tell(msg, why)
		if err == nil {
			return nil
		}
		if fault.From(err).Kind != fault.Unavailable {
			tries++
		}
		p.log.ErrorContext(msg.Context(), "failure not recorded, trying again", "error", err)
		select {
		case <-p.stopping:
			return err
		case <-time.After(time.Second):
		}
	}
	return nil // it is in the failed queue, and the log
}

// tell makes a panic an error: as a panic it would give the message back as well.
func (p poison) tell(msg *message.Message, why *Permanent) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.failed(context.WithoutCancel(msg.Context()), deliveryFrom(msg), why)
}

// maxDetail bounds x-failure-detail, in bytes.
const maxDetail = 1000

func (p poison) deadLetter(msg *message.Message, why *Permanent) outgoing {
	publishing := copyOf(msg)
	publishing.Headers[headerReason] = why.Reason
	publishing.Headers[headerDetail] = strings.ToValidUTF8(why.Detail[:min(len(why.Detail), maxDetail)], "")
	publishing.Headers[headerAttempts] = int64(attemptsBefore(msg) + 1)
	publishing.Headers[headerOrigin] = p.queue
	publishing.Headers[headerFailedAt] = time.Now()
	return outgoing{exchange: p.topology.DLX, key: failedKey, mandatory: true, Publishing: publishing}
}
