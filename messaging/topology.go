package messaging

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/messaging/events"
)

// Names that siblings share, CONTRACT "Messages".
const (
	emailQueue = "email.queue" // of the Email Service
	emailKey   = "email"
	pushKey    = "push"
	failedKey  = "failed"
)

// MailQueue holds the mails that this service sends itself, when Topology.OwnMail says so. It is not
// email.queue, where other producers' mails are too.
const MailQueue = "user-service.email"

// StatusQueue holds what became of push messages until the gateway has been told, when
// Topology.TellsStatus says so. It is gone when nobody has consumed it for statusKept: after the setting
// is taken back it must not grow for ever.
const (
	StatusQueue = "user-service.status"
	statusKept  = 7 * 24 * time.Hour
)

// Topology is what must be there before anything is published or consumed. It is declared on every
// new connection, so a broker that lost it gets it back.
type Topology struct {
	Exchange    string // direct: where producers publish
	DLX         string // direct: dead letters
	Events      string // topic: domain events
	PushQueue   string
	FailedQueue string
	RetrySteps  []time.Duration
	OwnMail     bool // mails go to MailQueue instead of email.queue
	TellsStatus bool // outcomes of push messages go to StatusQueue too

	// Logged holds what was already said of things that are declared otherwise. Share it between
	// connections.
	Logged *sync.Map
}

// mailRoute is where mails are published.
func (t Topology) mailRoute() (exchange, key string) {
	if t.OwnMail {
		return "", MailQueue
	}
	return t.Exchange, emailKey
}

// Consumed are the queues this service takes messages from.
func (t Topology) Consumed() []string {
	all := []string{t.PushQueue}
	if t.OwnMail {
		all = append(all, MailQueue)
	}
	if t.TellsStatus {
		all = append(all, StatusQueue)
	}
	return all
}

// Each step has queues that wait a little longer one than the other: what failed together must not come
// back together, and within one queue messages expire in their order, whatever time each has. Half of them
// are for urgent messages alone. RabbitMQ 4 puts those of a quorum queue in front, from priority 5 on, and
// while the first one has to wait, so has all that is behind it.
const (
	classes = 2 // urgent, or not
	spread  = 2 // queues of each
)

// urgent is the least priority of the urgent ones.
const urgent = 5

// retryClass is the nth queue of a step for messages of this priority, and the priority that all in it have.
func retryClass(priority uint8, n int) (index int, uniform uint8) {
	if priority >= urgent {
		return classes * n, urgent
	}
	return classes*n + 1, 0
}

// waits are those of a step: as long as it is, and a little longer.
func waits(step time.Duration) (all [classes * spread]time.Duration) {
	for n := range all {
		all[n] = step + step*time.Duration(n)/20
	}
	return all
}

// RetryQueues give the messages of queue back to it after their waits.
func (t Topology) RetryQueues(queue string) (names []string) {
	for _, step := range t.RetrySteps {
		for _, wait := range waits(step) {
			names = append(names, retryQueue(queue, wait))
		}
	}
	return names
}

// givesBack are the arguments of a queue that gives its messages to queue after wait.
//
// A classic queue forgets an expired message before the disk has it in the other queue: a broker that was
// killed in that moment lost 31 of 1,500. A quorum queue forgets it when the other queue has confirmed it,
// and asks for reject-publish to do so.
func givesBack(queue string, wait time.Duration) amqp.Table {
	return amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-overflow": amqp.QueueOverflowRejectPublish,
		"x-message-ttl": wait.Milliseconds(), "x-dead-letter-strategy": "at-least-once",
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue,
	}
}

func retryQueue(queue string, wait time.Duration) string {
	return strings.TrimSuffix(queue, ".queue") + ".retry." + shortDuration(wait)
}

// shortDuration writes 10m for 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Declare makes what is absent and takes what is there.
func (t Topology) Declare(conn *amqp.Connection, log *slog.Logger) error {
	type declaration struct {
		what string
		how  func(ch *amqp.Channel, passive bool) error
	}
	exchange := func(name, kind string) declaration {
		return declaration{"exchange " + name, func(ch *amqp.Channel, passive bool) error {
			if passive {
				return ch.ExchangeDeclarePassive(name, kind, true, false, false, false, nil)
			}
			return ch.ExchangeDeclare(name, kind, true, false, false, false, nil)
		}}
	}
	queue := func(name string, args amqp.Table) declaration {
		return declaration{"queue " + name, func(ch *amqp.Channel, passive bool) error {
			declare := ch.QueueDeclare
			if passive {
				declare = ch.QueueDeclarePassive
			}
			_, err := declare(name, true, false, false, false, args)
			return err
		}}
	}
	binding := func(name, key, exchange string) declaration {
		return declaration{"binding of " + name, func(ch *amqp.Channel, passive bool) error {
			if passive {
				return nil
			}
			return ch.QueueBind(name, key, exchange, false, nil)
		}}
	}
	work := amqp.Table{"x-dead-letter-exchange": t.DLX, "x-dead-letter-routing-key": failedKey, "x-max-priority": 10}
	wanted := []declaration{
		exchange(t.Exchange, amqp.ExchangeDirect), exchange(t.DLX, amqp.ExchangeDirect), exchange(t.Events, amqp.ExchangeTopic),
		queue(emailQueue, work), queue(t.PushQueue, work), queue(t.FailedQueue, nil),
		binding(emailQueue, emailKey, t.Exchange), binding(t.PushQueue, pushKey, t.Exchange), binding(t.FailedQueue, failedKey, t.DLX),
	}
	if t.OwnMail {
		wanted = append(wanted, queue(MailQueue, work))
	}
	if t.TellsStatus {
		args := maps.Clone(work)
		args["x-expires"] = statusKept.Milliseconds()
		wanted = append(wanted, queue(StatusQueue, args))
		for _, event := range []events.Event{events.PushSent{}, events.PushSkipped{}, events.PushFailed{}, events.PushRetried{}} {
			wanted = append(wanted, binding(StatusQueue, event.Type(), t.Events))
		}
	}
	// In the order of their waits: RabbitMQ before 3.13.3 writes the name of a new quorum queue down when it makes
	// the next one, or a second later, and who kills it sooner loses the last one with its messages
	// (https://github.com/rabbitmq/ra/pull/443). Rarely does a message come to the last one in its first second.
	for _, name := range t.Consumed() {
		for _, step := range t.RetrySteps {
			for _, wait := range waits(step) {
				wanted = append(wanted, queue(retryQueue(name, wait), givesBack(name, wait)))
			}
		}
	}
	for _, d := range wanted {
		if err := t.declare(conn, log, d.what, d.how); err != nil {
			return fmt.Errorf("%s: %w", d.what, err)
		}
	}
	return nil
}

// declare uses a channel of its own: a refusal closes it. Refused because the thing is there with
// other arguments (406), or because only an operator may make things (403): it is used as it is.
func (t Topology) declare(conn *amqp.Connection, log *slog.Logger, what string, how func(*amqp.Channel, bool) error) error {
	refused, err := onOwnChannel(conn, func(ch *amqp.Channel) error { return how(ch, false) })
	if err == nil || refused == nil || (refused.Code != amqp.PreconditionFailed && refused.Code != amqp.AccessRefused) {
		return err
	}
	if _, err := onOwnChannel(conn, func(ch *amqp.Channel) error { return how(ch, true) }); err != nil {
		return err
	}
	if _, said := t.Logged.LoadOrStore(what, true); !said {
		log.Warn("declared otherwise by someone else, used as it is", "what", what, "difference", refused.Reason)
	}
	return nil
}

func onOwnChannel(conn *amqp.Connection, fn func(*amqp.Channel) error) (*amqp.Error, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ch.Close() }()
	err = fn(ch)
	refused, _ := errors.AsType[*amqp.Error](err)
	return refused, err
}
