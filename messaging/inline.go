package messaging

import (
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
	followers map[string][]cqrs.EventHandler
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

func (i *inline) follow(topic string, msg *message.Message) error {
	for _, follower := range i.followers[topic] {
		event := follower.NewEvent()
		if err := (plainJSON{}).Unmarshal(msg, event); err != nil {
			return err
		}
		if err := follower.Handle(msg.Context(), event); err != nil {
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
	for _, msg := range messages {
		if !postgres.InTransaction(msg.Context()) {
			return errOutsideTx
		}
		if err := s.now.follow(topic, msg); err != nil {
			return err
		}
		if held, ok := msg.Context().Value(heldKey{}).(*message.Messages); ok {
			*held = append(*held, msg)
		} else if err := s.later.Publish(topic, msg); err != nil {
			return err
		}
	}
	return nil
}

func (s bothSpeeds) Close() error { return s.later.Close() }
