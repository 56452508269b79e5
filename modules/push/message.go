package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"user-service/messaging"
)

const (
	maxRequestID    = 255
	maxTemplateCode = 255
	maxLanguage     = 35 // RFC 5646 section 4.4.1
	maxPriority     = 10
)

// pushMessage is what a producer asks for.
type pushMessage struct {
	RequestID    string
	UserID       string
	TemplateCode string
	Language     string // of the text, "" for the usual one
	Variables    map[string]any
	Priority     int
}

func malformed(format string, args ...any) error {
	return &messaging.Permanent{Reason: "malformed", Detail: fmt.Sprintf(format, args...)}
}

// parse reads a message as strangers write it, by the names and in the wrapping that they use; it is
// Permanent `malformed` or `wrong_channel` otherwise. What could be read is given in any case, so that the failure can be attributed.
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
	members, err := membersOf(body)
	if err != nil {
		return m, malformed("the body is not valid JSON: %v", err)
	}
	reader := object{members: unwrapped(members)}
	channel := reader.text(64, "notification_type", "type")
	m.RequestID = reader.id(maxRequestID, "request_id", "notification_id")
	if m.RequestID == "" && storable(d.MessageID, maxRequestID) {
		m.RequestID = d.MessageID
	}
	metadata := reader.within("metadata") // what is wrong with it is nobody's concern
	m.Language = metadata.text(maxLanguage, "language")
	userID := reader.text(36, "user_id")
	if userID == "" {
		userID = metadata.text(36, "user_id")
	}
	m.TemplateCode = reader.id(maxTemplateCode, "template_code", "template_id")
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
	if channel != "" && !strings.EqualFold(channel, "push") {
		return m, &messaging.Permanent{Reason: "wrong_channel", Detail: fmt.Sprintf("notification_type is %q; this queue takes push", channel)}
	}
	return m, nil
}

// unwrapped takes a message out of what NestJS puts around it: {"pattern": …, "data": {…}}.
func unwrapped(members map[string]json.RawMessage) map[string]json.RawMessage {
	if _, wrapped := members["pattern"]; wrapped {
		if data, err := membersOf(members["data"]); err == nil && data != nil {
			return data
		}
	}
	return members
}

// object reads the members of an object and gathers what is wrong with them. Of several names for the
// same the first one that is there counts.
type object struct {
	members map[string]json.RawMessage
	faults  []string
}

// within gives the object that a member is; an empty one when it is none.
func (r *object) within(name string) *object {
	members, _ := membersOf(r.members[name])
	return &object{members: members}
}

// named is the first of these members that is there, and its name.
func (r *object) named(names []string) (raw json.RawMessage, name string) {
	for _, name := range names {
		if raw := r.members[name]; len(raw) > 0 && string(raw) != "null" {
			return raw, name
		}
	}
	return nil, ""
}

func (r *object) wrong(fault string) { r.faults = append(r.faults, fault) }

// variables keeps numbers as they were written: ids may have more digits than a float64.
func (r *object) variables(dest *map[string]any) {
	raw, name := r.named([]string{"variables"})
	if name == "" {
		return
	}
	if string(bytes.TrimSpace(raw)) == "[]" { // as PHP writes an empty map
		return
	}
	members, err := membersOf(raw)
	if err != nil {
		r.wrong("variables must be an object")
		return
	}
	*dest = make(map[string]any, len(members))
	for name, member := range members {
		text, is := textOf(member)
		if !is { // seldom, and then all are read anew
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.UseNumber()
			_ = decoder.Decode(dest) // it is an object
			return
		}
		(*dest)[name] = text
	}
}

// wholeNumber takes 1.0, since JSON knows one kind of number only, and "1" as some producers write it.
func (r *object) wholeNumber(name string, dest *int) {
	raw, found := r.named([]string{name})
	if found == "" {
		return
	}
	if quoted, is := textOf(raw); is && wholeNumber.MatchString(quoted) {
		raw = json.RawMessage(quoted)
	}
	var number float64
	if json.Unmarshal(raw, &number) != nil || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
		r.wrong(name + " must be a whole number")
		return
	}
	*dest = int(number)
}

func (r *object) text(limit int, names ...string) string {
	raw, name := r.named(names)
	if name == "" {
		return ""
	}
	text, is := textOf(raw)
	if !is {
		r.wrong(name + " must be a string")
		return ""
	}
	return r.bounded(name, text, limit)
}

var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

// id is a text or a number, whose digits are kept as they were written.
func (r *object) id(limit int, names ...string) string {
	raw, name := r.named(names)
	if name == "" {
		return ""
	}
	text, is := textOf(raw)
	if !is && wholeNumber.Match(raw) {
		text, is = string(raw), true
	}
	if !is {
		r.wrong(name + " must be a string or a whole number")
		return ""
	}
	return r.bounded(name, text, limit)
}

// textOf reads a string. Almost all are as they stand between their quotes.
func textOf(raw json.RawMessage) (text string, is bool) {
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	if raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

func (r *object) bounded(name, text string, limit int) string {
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
