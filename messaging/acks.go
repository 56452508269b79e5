package messaging

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ackWithin is how long an ack waits for others. Half of the prefetch do not wait for more: the broker would soon have
// nothing left to hand over.
const ackWithin = 3 * time.Millisecond

// acks tells the broker of many messages of a channel at once that they are done: an ack for each costs it
// about as much as to hand the message over. A message that takes long holds up the acks of no other, or it
// would use up the prefetch.
type acks struct {
	channel  amqp.Acknowledger
	gather   func() (done func() error) // has what is sent meanwhile leave in one packet
	together int                        // so many do not wait for more
	log      *slog.Logger

	mu      sync.Mutex
	inWorks []uint64 // delivery tags, which rise
	done    []uint64 // that the broker is to be told
	timer   *time.Timer
}

func newAcks(channel amqp.Acknowledger, gather func() (done func() error), prefetch int, log *slog.Logger) *acks {
	a := &acks{channel: channel, gather: gather, together: max(prefetch/2, 1), log: log}
	a.timer = time.AfterFunc(ackWithin, a.send)
	return a
}

// taken must be called with each tag, in their order.
func (a *acks) taken(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inWorks = append(a.inWorks, tag)
}

// ack has the broker be told soon.
func (a *acks) ack(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(tag)
	a.done = append(a.done, tag)
	switch len(a.done) {
	case a.together:
		a.sendAll()
	case 1:
		a.timer.Reset(ackWithin)
	}
}

// giveBack has the broker hand the message over again.
func (a *acks) giveBack(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(tag)
	a.check(a.channel.Nack(tag, false, true))
}

func (a *acks) settle(tag uint64) {
	if at, found := slices.BinarySearch(a.inWorks, tag); found {
		a.inWorks = slices.Delete(a.inWorks, at, at+1)
	}
}

// send tells the broker of all that are done.
func (a *acks) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sendAll()
}

func (a *acks) sendAll() {
	gathered := a.gather()
	var last uint64 // of those that have none in the works before them
	for _, tag := range a.done {
		if len(a.inWorks) == 0 || tag < a.inWorks[0] {
			last = max(last, tag)
		} else {
			a.check(a.channel.Ack(tag, false))
		}
	}
	if last > 0 {
		a.check(a.channel.Ack(last, true))
	}
	a.done = a.done[:0]
	a.check(gathered())
}

func (a *acks) check(err error) {
	if err != nil {
		a.log.Warn("not settled, the broker will deliver it again", "error", err)
	}
}
