package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"user-service/messaging"
)

const (
	maxRequestID    = 255
	maxTemplateCode = 255
	maxPriority     = 10
)

// pushMessage is what a producer asks for.
type pushMessage struct {
	RequestID    string
	UserID       string
	TemplateCode string
	Variables    map[string]any
	Priority     int
}

func malformed(format string, args ...any) error {
	return &messaging.Permanent{Reason: "malformed", Detail: fmt.Sprintf(format, args...)}
}

// parse reads a message as strangers write it; it is Permanent `malformed` or `wrong_channel`
// otherwise. What could be read is given in any case, so that the failure can be attributed.
func parse(d messaging.Delivery) (pushMessage, error) {
	m := pushMessage{Priority: min(d.Priority, maxPriority)}
	body := bytes.TrimSpace(d.Body)
	switch {
	case len(body) == 0:
		return m, malformed("the body is empty; a JSON object is expected")
	case !utf8.Valid(body):
		return m, malformed("the body is not UTF-8")
	case body[0] != '{':
		return m, malformed("the body is not a JSON object")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return m, malformed("the body is not valid JSON: %v", err)
	}
	reader := object{members: members}
	channel := reader.text("notification_type", 64)
	m.RequestID = reader.text("request_id", maxRequestID)
	if m.RequestID == "" && storable(d.MessageID, maxRequestID) {
		m.RequestID = d.MessageID
	}
	userID := reader.text("user_id", 36)
	m.TemplateCode = reader.text("template_code", maxTemplateCode)
	reader.variables(&m.Variables)
	reader.wholeNumber("priority", &m.Priority)

	if id, err := uuid.Parse(userID); err == nil && len(userID) == 36 {
		m.UserID = id.String()
	} else {
		reader.wrong("user_id must be a UUID")
	}
	if m.TemplateCode == "" {
		reader.wrong("template_code is required")
	}
	if m.RequestID == "" {
		reader.wrong("request_id is required, or else the AMQP message_id")
	}
	if m.Priority < 0 || m.Priority > maxPriority {
		reader.wrong("priority must be from 0 to 10")
	}
	if len(reader.faults) > 0 {
		return m, malformed("%s", strings.Join(reader.faults, "; "))
	}
	if channel != "" && channel != "push" {
		return m, &messaging.Permanent{Reason: "wrong_channel", Detail: fmt.Sprintf("notification_type is %q; this queue takes push", channel)}
	}
	return m, nil
}

// object reads the members of an object and gathers what is wrong with them.
type object struct {
	members map[string]json.RawMessage
	faults  []string
}

func (r *object) wrong(fault string) { r.faults = append(r.faults, fault) }

// value leaves dest as it is when the member is missing or null.
func (r *object) value(name string, dest any, expected string) bool {
	raw, present := r.members[name]
	if !present || string(raw) == "null" {
		return false
	}
	if json.Unmarshal(raw, dest) != nil {
		r.wrong(name + " must be " + expected)
		return false
	}
	return true
}

// variables keeps numbers as they were written: ids may have more digits than a float64.
func (r *object) variables(dest *map[string]any) {
	raw, present := r.members["variables"]
	if !present || string(raw) == "null" {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(dest) != nil {
		r.wrong("variables must be an object")
	}
}

// wholeNumber takes 1.0 too: JSON knows one kind of number only.
func (r *object) wholeNumber(name string, dest *int) {
	var number float64
	if !r.value(name, &number, "a whole number") {
		return
	}
	if number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
		r.wrong(name + " must be a whole number")
		return
	}
	*dest = int(number)
}

func (r *object) text(name string, limit int) string {
	var text string
	if !r.value(name, &text, "a string") {
		return ""
	}
	if !storable(text, limit) {
		r.wrong(fmt.Sprintf("%s must be at most %d bytes without control characters", name, limit))
		return ""
	}
	return text
}

// storable keeps out what PostgreSQL refuses and logs cannot show.
func storable(text string, limit int) bool {
	return len(text) <= limit && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}
