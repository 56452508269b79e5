package messaging

import (
	"encoding/json"
	"reflect"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"user-service/messaging/events"
)

// plainJSON marshals what goes over the bus. Messages are marshalled even inline, so that nothing
// is sent that could not leave the process.
type plainJSON struct{}

func (plainJSON) Marshal(v any) (*message.Message, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return message.NewMessage(id.String(), payload), nil
}

func (plainJSON) Unmarshal(msg *message.Message, v any) error {
	return json.Unmarshal(msg.Payload, v)
}

// Name is the type of an event and the Go name of a command.
func (plainJSON) Name(v any) string {
	if event, ok := v.(events.Event); ok {
		return event.Type()
	}
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

func (plainJSON) NameFromMessage(*message.Message) string { return "" }
