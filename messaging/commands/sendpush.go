package commands

import "encoding/json"

// SendPush has a notification published to push.queue, as any producer would. It is handled by
// messaging, which writes it to the outbox: the caller must be in a transaction, and the message
// leaves when that commits.
type SendPush struct {
	RequestID    string                     `json:"request_id"`
	UserID       string                     `json:"user_id"`
	TemplateCode string                     `json:"template_code"`
	Variables    map[string]json.RawMessage `json:"variables"`
	Priority     int                        `json:"priority"` // from 1 to 10
	Metadata     map[string]json.RawMessage `json:"metadata"`
}
