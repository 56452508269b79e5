package messaging

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"

	"user-service/platform/postgres"
)

// inline is the publisher between the buses and their handlers: it calls them in the caller's
// goroutine. Watermill's own in-process Pub/Sub returns no error, resends for ever and deadlocks
// when nested; see doc.go.
type inline struct {
	handlers  map[string]cqrs.CommandHandler
	followers map[string][]follower
}

// Publish implements message.Publisher for commands.
func (i *inline) Publish(topic string, messages ...*message.Message) error {
	handler := i.handlers[topic]
	if handler == nil {
		return fmt.Errorf("messaging: nobody handles %s", topic)
	}
	for _, msg := range messages {
		command := handler.NewCommand()
		if err := (plainJSON{}).Unmarshal(msg, command); err != nil {
			return err
		}
		if err := handler.Handle(msg.Context(), command); err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher.
func (i *inline) Close() error { return nil }

// follower is told of events of one type, and of one transaction.
type follower func(ctx context.Context, told message.Messages) error

// each is told of them one after the other.
func each(handler cqrs.EventHandler) follower {
	return func(_ context.Context, told message.Messages) error {
		for _, msg := range told {
			event := handler.NewEvent()
			if err := (plainJSON{}).Unmarshal(msg, event); err != nil {
				return err
			}
			if err := handler.Handle(msg.Context(), event); err != nil {
				return err
			}
		}
		return nil
	}
}

// together is told of them all at once.
func together[Event any](fn func(ctx context.Context, all []*Event) error) follower {
	return func(ctx context.Context, told message.Messages) error {
		all := make([]*Event, len(told))
		for n, msg := range told {
			all[n] = new(Event)
			if err := (plainJSON{}).Unmarshal(msg, all[n]); err != nil {
				return err
			}
		}
		return fn(ctx, all)
	}
}

func (i *inline) follow(ctx context.Context, topic string, told message.Messages) error {
	for _, follower := range i.followers[topic] {
		if err := follower(ctx, told); err != nil {
			return err
		}
	}
	return nil
}

// bothSpeeds is the publisher of events: followers now, the world through the outbox.
type bothSpeeds struct {
	now   *inline
	later *Outbox
}

var errOutsideTx = errors.New("messaging: an event must be published in the transaction of its change")

func (s bothSpeeds) Publish(topic string, messages ...*message.Message) error {
	ctx := messages[0].Context()
	if !postgres.InTransaction(ctx) {
		return errOutsideTx
	}
	if held, ok := ctx.Value(heldKey{}).(*message.Messages); ok {
		*held = append(*held, messages...)
		return nil
	}
	if err := s.now.follow(ctx, topic, messages); err != nil {
		return err
	}
	return s.later.Publish(topic, messages...)
}

func (s bothSpeeds) Close() error { return s.later.Close() }
