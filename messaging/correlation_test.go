package messaging

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/correlation"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestIDsOfAMessageReachItsHandler(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		delivery amqp.Delivery
		want     correlation.IDs // an empty correlation id: a new one
	}{
		"property":                  {amqp.Delivery{CorrelationId: "a"}, correlation.IDs{Correlation: "a"}},
		"header":                    {amqp.Delivery{Headers: amqp.Table{"X-Correlation-ID": "b"}}, correlation.IDs{Correlation: "b"}},
		"header in lower case":      {amqp.Delivery{Headers: amqp.Table{"x-correlation-id": "c"}}, correlation.IDs{Correlation: "c"}},
		"header of bytes":           {amqp.Delivery{Headers: amqp.Table{"X-Correlation-Id": []byte("d")}}, correlation.IDs{Correlation: "d"}},
		"header that is a number":   {amqp.Delivery{Headers: amqp.Table{"x-correlation-id": int64(7)}}, correlation.IDs{Correlation: "7"}},
		"property before header":    {amqp.Delivery{CorrelationId: "e", Headers: amqp.Table{"x-correlation-id": "f"}}, correlation.IDs{Correlation: "e"}},
		"trace context":             {amqp.Delivery{CorrelationId: "g", Headers: amqp.Table{"traceparent": traceparent}}, correlation.IDs{Correlation: "g", Traceparent: traceparent}},
		"malformed trace context":   {amqp.Delivery{CorrelationId: "h", Headers: amqp.Table{"traceparent": "no"}}, correlation.IDs{Correlation: "h"}},
		"none":                      {},
		"malformed property":        {amqp.Delivery{CorrelationId: "two words"}, correlation.IDs{}},
		"malformed header":          {amqp.Delivery{Headers: amqp.Table{"X-Correlation-ID": "line\nbreak"}}, correlation.IDs{}},
		"header of another nature":  {amqp.Delivery{Headers: amqp.Table{"x-correlation-id": amqp.Table{"a": "b"}}}, correlation.IDs{}},
		"trace context that is nil": {amqp.Delivery{CorrelationId: "i", Headers: amqp.Table{"traceparent": nil}}, correlation.IDs{Correlation: "i"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg, err := marshaler{}.Unmarshal(test.delivery)
			require.NoError(t, err)
			var got correlation.IDs
			_, err = correlate(func(msg *message.Message) ([]*message.Message, error) {
				got = correlation.From(msg.Context())
				return nil, nil
			})(msg)
			require.NoError(t, err)
			if test.want.Correlation == "" {
				require.NoError(t, uuid.Validate(got.Correlation))
				got.Correlation = ""
			}
			require.Equal(t, test.want, got)
		})
	}
}
