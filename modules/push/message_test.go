package push

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/messaging"
)

const user = "0b0f5c9e-93a8-4d43-9f0c-8c9a3f1a2b3c"

func TestMessageIsReadAsDocumented(t *testing.T) {
	t.Parallel()
	m, err := parse(messaging.Delivery{MessageID: "amqp-id", Priority: 7, Body: []byte(` {"notification_type":"push","user_id":"` + strings.ToUpper(user) + `",
		"template_code":"welcome_notification","variables":{"name":"John"},"request_id":"unique-id","priority":1,"metadata":{"a":1,"language":"de-AT"},"more":[1]} `)})
	require.NoError(t, err)
	require.Equal(t, pushMessage{
		RequestID: "unique-id", UserID: user, TemplateCode: "welcome_notification", Language: "de-AT", Variables: map[string]any{"name": "John"}, Priority: 1,
	}, m)
}

func TestPropertiesStandInForMissingFields(t *testing.T) {
	t.Parallel()
	body := `{"user_id":"` + user + `","template_code":"x","variables":null,"request_id":null}`
	m, err := parse(messaging.Delivery{MessageID: "amqp-id", Priority: 255, Body: []byte(body)})
	require.NoError(t, err)
	require.Equal(t, "amqp-id", m.RequestID)
	require.Equal(t, maxPriority, m.Priority)
}

// TestNumbersStayAsTheyWereWritten in texts and in what the device gets: an id may be one of them.
func TestNumbersStayAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	const variables = `{"name":12345678901234567890,"text":"a","big":1e999,"price":1.10}`
	var m pushMessage
	for _, priority := range []string{"1", "1.0", `"1"`} {
		var err error
		m, err = parse(messaging.Delivery{Body: []byte(`{"user_id":"` + user + `","template_code":"welcome_notification","request_id":"r","priority":` + priority + `,"variables":` + variables + `}`)})
		require.NoError(t, err)
		require.Equal(t, 1, m.Priority)
	}
	sent, err := json.Marshal(m.Variables)
	require.NoError(t, err)
	require.Equal(t, `{"big":1e999,"name":12345678901234567890,"price":1.10,"text":"a"}`, string(sent))
	text, err := BuiltInTemplates().render(t.Context(), m.TemplateCode, m.Language, m.Variables)
	require.NoError(t, err)
	require.Equal(t, "Welcome, 12345678901234567890!", text.Title)
	for _, priority := range []string{"1.5", "1e999", `"high"`, `"1.5"`, `""`} {
		_, err := parse(messaging.Delivery{Body: []byte(`{"user_id":"` + user + `","template_code":"x","request_id":"r","priority":` + priority + `}`)})
		require.ErrorContains(t, err, "priority must be a whole number")
	}
}

// TestMessagesOfEveryProducerAreUnderstood, who each have names of their own.
func TestMessagesOfEveryProducerAreUnderstood(t *testing.T) {
	t.Parallel()
	want := pushMessage{RequestID: "42", UserID: user, TemplateCode: "welcome_notification", Priority: 0}
	for name, body := range map[string]string{
		"as documented":            `{"request_id":"42","user_id":"%s","template_code":"welcome_notification","notification_type":"push"}`,
		"number for an id":         `{"request_id":42,"user_id":"%s","template_code":"welcome_notification"}`,
		"user in the metadata":     `{"request_id":"42","metadata":{"user_id":"%s"},"template_code":"welcome_notification"}`,
		"null is not there":        `{"request_id":null,"notification_id":42,"user_id":null,"metadata":{"user_id":"%s"},"template_code":null,"template_id":"welcome_notification"}`,
		"of the gateway":           `{"notification_id":"42","user_id":"%s","template_id":"welcome_notification","type":"push"}`,
		"the documented name wins": `{"request_id":"42","notification_id":"7","user_id":"%s","metadata":{"user_id":"x"},"template_code":"welcome_notification","template_id":"x","notification_type":"push","type":"x"}`,
		"of NestJS":                `{"pattern":"push","data":{"notification_id":42,"user_id":"%s","template_code":"welcome_notification"}}`,
		"of NestJS, by a command":  `{"pattern":{"cmd":"push"},"id":"rpc","data":{"request_id":"42","user_id":"%s","template_code":"welcome_notification"}}`,
		"a field called pattern":   `{"pattern":"x","data":null,"request_id":"42","user_id":"%s","template_code":"welcome_notification"}`,
	} {
		m, err := parse(messaging.Delivery{MessageID: "amqp-id", Body: fmt.Appendf(nil, body, user)})
		require.NoError(t, err, name)
		require.Equal(t, want, m, name)
	}
	for body, reason := range map[string]string{
		`{"request_id":"r","user_id":"%s","template_code":"x","type":"email"}`:                      "wrong_channel",
		`{"pattern":"x","data":{"request_id":"r","user_id":"%s","template_code":"x","type":"sms"}}`: "wrong_channel",
		`{"request_id":1.5,"user_id":"%s","template_code":"x"}`:                                     "malformed",
		`{"request_id":"r","user_id":7,"metadata":{"user_id":"%s"},"template_code":"x"}`:            "malformed",
		`{"pattern":"x","data":["%s"]}`:                                                             "malformed",
	} {
		_, err := parse(messaging.Delivery{Body: fmt.Appendf(nil, body, user)})
		permanent := new(messaging.Permanent)
		require.ErrorAs(t, err, &permanent, body)
		require.Equal(t, reason, permanent.Reason, body)
	}
}

func TestEveryFaultOfAMessageIsNamed(t *testing.T) {
	t.Parallel()
	_, err := parse(messaging.Delivery{Body: []byte(`{"user_id":"7","template_code":"a\u0000b","request_id":true,"variables":[1],"priority":11}`)})
	permanent := new(messaging.Permanent)
	require.ErrorAs(t, err, &permanent)
	require.Equal(t, "malformed", permanent.Reason)
	for _, fault := range []string{
		"user_id must be a UUID", "template_code must be at most 255 bytes without control characters", "template_code is required",
		"request_id must be a string or a whole number", "request_id is required, or else the AMQP message_id", "variables must be an object", "priority must be from 0 to 10",
	} {
		require.Contains(t, permanent.Detail, fault)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"user_id":"`+user+`","template_code":"welcome_notification","request_id":"r","variables":{"name":"x"}}`), "id")
	f.Add([]byte(`{"pattern":"p","data":{"notification_id":7,"metadata":{"user_id":"`+user+`"},"template_id":"welcome_notification","type":"push"}}`), "")
	f.Add([]byte(``), "")
	f.Add([]byte(`[]`), "")
	f.Add([]byte(`{"user_id":null,"priority":1e400}`), "")
	f.Add([]byte(strings.Repeat(`{"variables":`, 2000)), "")
	f.Fuzz(func(t *testing.T, body []byte, messageID string) {
		m, err := parse(messaging.Delivery{Body: body, MessageID: messageID})
		if err != nil {
			require.ErrorAs(t, err, new(*messaging.Permanent))
			return
		}
		require.True(t, json.Valid(body))
		require.NoError(t, uuid.Validate(m.UserID))
		require.NotEmpty(t, m.RequestID)
		_, err = BuiltInTemplates().render(t.Context(), m.TemplateCode, m.Language, m.Variables)
		if err != nil {
			require.ErrorAs(t, err, new(*messaging.Permanent))
		}
	})
}
