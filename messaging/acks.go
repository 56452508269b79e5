package messaging

import (
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	ackWithin   = time.Millisecond // an ack waits for others
	ackTogether = 16               // so many do not wait for more
)

// acks tells the broker of many messages at once that they are done: an ack for each costs it about as much
// as to hand the message over. A message that takes long holds up the acks of no other, or it would use up
// the prefetch.
type acks struct {
	channel amqp.Acknowledger
	log     *slog.Logger

	mu      sync.Mutex
	below   uint64          // every delivery tag under this one is settled; a channel counts them from one
	settled map[uint64]bool // others that are, and whether the broker was told
	waiting int             // that are still to be told
	timer   *time.Timer
}

func newAcks(channel amqp.Acknowledger, log *slog.Logger) *acks {
	a := &acks{channel: channel, log: log, below: 1, settled: map[uint64]bool{}}
	a.timer = time.AfterFunc(ackWithin, a.send)
	return a
}

// done has the broker be told soon.
func (a *acks) done(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled[tag] = false
	switch a.waiting++; a.waiting {
	case 1:
		a.timer.Reset(ackWithin)
	case ackTogether:
		a.sendAll()
	}
}

// returned gives a message back at once.
func (a *acks) returned(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled[tag] = true
	a.check(a.channel.Nack(tag, false, true))
}

// send tells the broker of all that are done.
func (a *acks) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sendAll()
}

func (a *acks) sendAll() {
	if a.waiting == 0 {
		return
	}
	a.waiting = 0
	var last uint64 // of those without a gap before them
	for told, is := a.settled[a.below]; is; told, is = a.settled[a.below] {
		if !told {
			last = a.below
		}
		delete(a.settled, a.below)
		a.below++
	}
	if last > 0 {
		a.check(a.channel.Ack(last, true))
	}
	for tag, told := range a.settled {
		if !told {
			a.settled[tag] = true
			a.check(a.channel.Ack(tag, false))
		}
	}
}

func (a *acks) check(err error) {
	if err != nil {
		a.log.Warn("not settled, the broker will deliver it again", "error", err)
	}
}
