package messaging

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"

	"user-service/messaging/events"
	"user-service/platform/correlation"
)

// Bus is how modules talk. Register every handler before the first message is sent.
type Bus struct {
	commands *cqrs.CommandBus
	events   *cqrs.EventBus
	inline   *inline
	outbox   *Outbox
}

// NewBus makes a bus whose events, mails and push messages leave through outbox.
func NewBus(outbox *Outbox) (*Bus, error) {
	b := &Bus{
		inline: &inline{handlers: map[string]cqrs.CommandHandler{}, followers: map[string][]follower{}},
		outbox: outbox,
	}
	var err error
	b.commands, err = cqrs.NewCommandBusWithConfig(b.inline, cqrs.CommandBusConfig{
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return p.CommandName, nil },
		Marshaler:            plainJSON{},
	})
	if err != nil {
		return nil, err
	}
	b.events, err = cqrs.NewEventBusWithConfig(bothSpeeds{b.inline, outbox}, cqrs.EventBusConfig{
		GeneratePublishTopic: func(p cqrs.GenerateEventPublishTopicParams) (string, error) { return p.EventName, nil },
		Marshaler:            plainJSON{},
		OnPublish:            describe,
	})
	Handle(b, outbox.sendEmail)
	Handle(b, outbox.sendPush)
	return b, err
}

// Send has the one handler of command run now, in the transaction of ctx. The handler's own error
// comes back.
func (b *Bus) Send(ctx context.Context, command any) error { return b.commands.Send(ctx, command) }

// Ask is Send for a command that is answered.
func Ask[Answer any](ctx context.Context, b *Bus, command any) (Answer, error) {
	var reply slot
	var answer Answer
	if err := b.Send(context.WithValue(ctx, slotKey{}, &reply), command); err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(reply.payload, &answer)
}

// Publish has the followers of event run now, and the world told later. It must be called in a
// transaction: event and change commit together or not at all.
func (b *Bus) Publish(ctx context.Context, event events.Event) error {
	return b.events.Publish(ctx, event)
}

// Together is for many events of one transaction, of whichever users: what fn publishes is told to its
// followers when fn has ended, to those of FollowAll all at once.
func (b *Bus) Together(ctx context.Context, fn func(ctx context.Context) error) error {
	var held message.Messages
	if err := fn(context.WithValue(ctx, heldKey{}, &held)); err != nil || len(held) == 0 {
		return err
	}
	byTopic := map[string]message.Messages{}
	var topics []string
	for _, msg := range held {
		msg.SetContext(context.WithValue(msg.Context(), heldKey{}, nil)) // what its followers publish is told at once
		topic := msg.Metadata[metaTopic]
		if byTopic[topic] == nil {
			topics = append(topics, topic)
		}
		byTopic[topic] = append(byTopic[topic], msg)
	}
	for _, topic := range topics {
		if err := b.inline.follow(ctx, topic, byTopic[topic]); err != nil {
			return err
		}
	}
	return b.outbox.Publish(topics[0], held...)
}

type heldKey struct{}

// Handle makes fn the handler of Command. A second one is a programming error and panics.
func Handle[Command any](b *Bus, fn func(ctx context.Context, command *Command) error) {
	name := plainJSON{}.Name(new(Command))
	if b.inline.handlers[name] != nil {
		panic("messaging: a second handler of " + name)
	}
	b.inline.handlers[name] = cqrs.NewCommandHandler(name, fn)
}

// Answer makes fn the handler of a Command that is answered, see Ask.
func Answer[Command, Reply any](b *Bus, fn func(ctx context.Context, command *Command) (Reply, error)) {
	Handle(b, func(ctx context.Context, command *Command) error {
		answer, err := fn(ctx, command)
		if err != nil {
			return err
		}
		reply, asked := ctx.Value(slotKey{}).(*slot)
		if !asked {
			return nil
		}
		reply.payload, err = json.Marshal(answer)
		return err
	})
}

// slot is where the answer to a command waits, marshalled as it would be on a wire.
type slot struct{ payload []byte }

type slotKey struct{}

// Follow has fn run whenever Event is published, in the publisher's transaction.
func Follow[Event events.Event](b *Bus, fn func(ctx context.Context, event *Event) error) {
	name := plainJSON{}.Name(new(Event))
	b.inline.followers[name] = append(b.inline.followers[name], each(cqrs.NewEventHandler(name, fn)))
}

// FollowAll is Follow for who has one statement for all events that are published Together.
func FollowAll[Event events.Event](b *Bus, fn func(ctx context.Context, all []*Event) error) {
	name := plainJSON{}.Name(new(Event))
	b.inline.followers[name] = append(b.inline.followers[name], together(fn))
}

// Names of what a message's metadata says.
const (
	metaTopic       = "topic"
	metaSource      = "source"
	metaSubject     = "subject"
	metaCorrelation = "correlation_id"
	metaTraceparent = "traceparent"
)

func describe(p cqrs.OnEventSendParams) error {
	event, ok := p.Event.(events.Event)
	if !ok {
		return fmt.Errorf("messaging: %T is no event", p.Event)
	}
	ids := correlation.From(p.Message.Context())
	p.Message.Metadata[metaTopic] = event.Type()
	p.Message.Metadata[metaSource] = event.Source()
	p.Message.Metadata[metaSubject] = event.Subject()
	p.Message.Metadata[metaCorrelation] = ids.Correlation
	if ids.Traceparent != "" {
		p.Message.Metadata[metaTraceparent] = ids.Traceparent
	}
	return nil
}
