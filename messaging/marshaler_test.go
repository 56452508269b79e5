package messaging

import (
	"bytes"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"user-service/platform/correlation"
)

// anyHeader draws a header value of any type AMQP has.
func anyHeader() *rapid.Generator[any] {
	return rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(
			rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Byte().AsAny(), rapid.Int8().AsAny(), rapid.Int16().AsAny(),
			rapid.Int32().AsAny(), rapid.Int64().AsAny(), rapid.Uint16().AsAny(), rapid.Uint32().AsAny(),
			rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1))).AsAny(), rapid.Float32().AsAny(),
			rapid.String().AsAny(), rapid.SliceOf(rapid.Byte()).AsAny(),
			rapid.Map(rapid.Int64(), func(s int64) any { return time.Unix(s, 0) }),
			rapid.Map(rapid.Int32(), func(v int32) any { return amqp.Decimal{Scale: 2, Value: v} }),
			rapid.Map(rapid.SliceOfN(anyHeader(), 0, 3), func(all []any) any { return all }),
			rapid.Map(rapid.MapOfN(rapid.String(), anyHeader(), 0, 3), func(all map[string]any) any { return amqp.Table(all) }),
		)
	})
}

func anyDelivery(t *rapid.T) amqp.Delivery {
	text := func(name string) string { return rapid.StringN(0, 20, 255).Draw(t, name) }
	var headers amqp.Table
	if rapid.Bool().Draw(t, "has headers") {
		headers = rapid.MapOf(rapid.StringN(0, 40, 128), anyHeader()).Draw(t, "headers")
	}
	return amqp.Delivery{
		Headers: headers, Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		ContentType: text("content type"), ContentEncoding: text("content encoding"), DeliveryMode: rapid.Byte().Draw(t, "mode"),
		Priority: rapid.Byte().Draw(t, "priority"), CorrelationId: text("correlation id"), ReplyTo: text("reply to"),
		Expiration: text("expiration"), MessageId: text("message id"), Timestamp: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "time"), 0),
		Type: text("type"), UserId: text("user id"), AppId: text("app id"),
	}
}

func TestAnyMessageIsTakenAndCopiedWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, takenAndCopiedWhole)
}

// FuzzHeaders searches among the same messages for longer.
func FuzzHeaders(f *testing.F) { f.Fuzz(rapid.MakeFuzz(takenAndCopiedWhole)) }

func takenAndCopiedWhole(t *rapid.T) {
	d := anyDelivery(t)
	headers := maps.Clone(d.Headers)

	msg, err := marshaler{}.Unmarshal(d)
	require.NoError(t, err)
	require.NotEmpty(t, msg.UUID)
	require.True(t, bytes.Equal(d.Body, msg.Payload))
	require.GreaterOrEqual(t, attemptsBefore(msg), 0)

	publishing, err := marshaler{}.Marshal(msg)
	require.NoError(t, err)
	require.NoError(t, publishing.Headers.Validate(), "the broker will take it")
	require.True(t, bytes.Equal(d.Body, publishing.Body))
	require.Empty(t, publishing.Expiration)
	require.Empty(t, publishing.UserId)
	requireSameProperties(t, d, publishing)
	if tableSize(d.Headers) <= maxHeaders {
		delete(headers, "CC")
		require.Len(t, publishing.Headers, len(headers))
		for name, value := range headers {
			require.IsType(t, value, publishing.Headers[name])
		}
	}
	publishing.Headers["x-attempts"] = int64(1)
	require.NotContains(t, d.Headers, "x-attempts", "the original is left alone")
}

func requireSameProperties(t require.TestingT, d amqp.Delivery, p amqp.Publishing) {
	require.Equal(t,
		[]any{d.ContentType, d.ContentEncoding, d.Priority, d.CorrelationId, d.ReplyTo, d.MessageId, d.Timestamp, d.Type, d.AppId},
		[]any{p.ContentType, p.ContentEncoding, p.Priority, p.CorrelationId, p.ReplyTo, p.MessageId, p.Timestamp, p.Type, p.AppId})
}

func TestCopyKeepsTheCorrelationIDTheMessageWasGiven(t *testing.T) {
	t.Parallel()
	msg, err := marshaler{}.Unmarshal(amqp.Delivery{})
	require.NoError(t, err)
	msg.SetContext(correlation.With(msg.Context(), correlation.IDs{Correlation: "given"}))
	require.Equal(t, "given", copyOf(msg).CorrelationId)
}

func TestMessageThatIsNoDeliveryIsCopiedEmpty(t *testing.T) {
	t.Parallel()
	require.NotNil(t, copyOf(message.NewMessage("1", nil)).Headers)
}

func TestSizeOfATableIsNotUnderrated(t *testing.T) {
	t.Parallel()
	table := amqp.Table{
		"text": "four", "bytes": []byte("four"), "number": int64(1), "decimal": amqp.Decimal{}, "time": time.Now(),
		"array": []any{"a", true, nil, amqp.Table{"inner": "b"}},
	}
	onWire := 4 + // of the table
		5 + 5 + 4 + 6 + 5 + 4 + 7 + 9 + 8 + 6 + 5 + 9 + // names with their length, values with their type
		6 + 5 + (6 + 2 + 1 + 5 + 6 + 6)
	require.GreaterOrEqual(t, tableSize(table), onWire)
}
