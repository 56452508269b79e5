package messaging

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"strings"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/platform/correlation"
)

// marshaler takes any AMQP message there is. watermill-amqp's DefaultMarshaler refuses every header
// that is not a string, which makes a foreign message loop for ever, and drops the properties.
// Whether a message is any good is for its handler to judge.
type marshaler struct{}

var _ wamqp.Marshaler = marshaler{}

type deliveryKey struct{}

// Unmarshal implements wamqp.Marshaler. It never fails.
func (marshaler) Unmarshal(d amqp.Delivery) (*message.Message, error) { return messageOf(d), nil }

// messageOf keeps the delivery itself within reach, so that a copy of the message has every header in its
// own type.
func messageOf(d amqp.Delivery) *message.Message {
	id := d.MessageId
	if id == "" {
		id = uuid.NewString()
	}
	msg := message.NewMessage(id, d.Body)
	for name, value := range d.Headers {
		msg.Metadata[name] = headerText(value)
	}
	if d.CorrelationId != "" {
		msg.Metadata[metaCorrelation] = d.CorrelationId
	}
	msg.SetContext(context.WithValue(context.Background(), deliveryKey{}, &d))
	return msg
}

// Marshal implements wamqp.Marshaler: a copy of the delivery that msg came from.
func (marshaler) Marshal(msg *message.Message) (amqp.Publishing, error) {
	return copyOf(msg), nil
}

func deliveryOf(msg *message.Message) *amqp.Delivery {
	d, is := msg.Context().Value(deliveryKey{}).(*amqp.Delivery)
	if !is {
		return new(amqp.Delivery)
	}
	return d
}

func headerText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}

// copyOf is the delivery of msg made ready to be published again. Left out is what would change its
// fate: a foreign user id (the broker closes the channel), an expiration (it would vanish from the
// failed queue), CC (copies for others). A message that came without a correlation id keeps the one
// it was given, so that all its attempts are found under one.
func copyOf(msg *message.Message) amqp.Publishing {
	d := deliveryOf(msg)
	headers := maps.Clone(d.Headers)
	if headers == nil || tableSize(headers) > maxHeaders {
		headers = amqp.Table{}
	}
	for _, name := range []string{"CC", headerReason, headerDetail, headerOrigin, headerFailedAt, headerMovedBack} { // those of an earlier failure are over
		delete(headers, name)
	}
	return amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Priority: d.Priority,
		CorrelationId: cmp.Or(d.CorrelationId, correlation.From(msg.Context()).Correlation), ReplyTo: d.ReplyTo, MessageId: d.MessageId, Timestamp: d.Timestamp,
		Type: d.Type, AppId: d.AppId, Body: d.Body,
	}
}

// forgetDeaths drops what a broker wrote of a message's earlier deaths. RabbitMQ before 4 believes it of
// whoever publishes, takes a message that expires once more for one that goes round for ever, and drops it.
func forgetDeaths(headers amqp.Table) {
	for name := range headers {
		if name == "x-death" || strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-") {
			delete(headers, name)
		}
	}
}

// maxHeaders bounds the headers a copy keeps, in bytes: with ours they must fit one frame
// (frame_max, 128 KiB by default), or the broker closes the connection.
const maxHeaders = 64 << 10

// tableSize is about what value takes on the wire.
func tableSize(value any) int {
	size := 8
	switch v := value.(type) {
	case string:
		size += len(v)
	case []byte:
		size += len(v)
	case amqp.Table:
		for name, member := range v {
			size += len(name) + tableSize(member)
		}
	case []any:
		for _, member := range v {
			size += tableSize(member)
		}
	}
	return size
}
