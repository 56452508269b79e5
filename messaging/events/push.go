package events

// PushOutcome is what the push.* events tell of one push message.
type PushOutcome struct {
	RequestID         string `json:"request_id"`
	UserID            string `json:"user_id"`
	TemplateCode      string `json:"template_code"`
	Provider          string `json:"provider"`
	ProviderMessageID string `json:"provider_message_id"`
	Reason            string `json:"reason"`
	Attempts          int    `json:"attempts"`
}

// Source implements Event.
func (PushOutcome) Source() string { return "push" }

// Subject implements Event.
func (e PushOutcome) Subject() string { return e.UserID }

// PushSent tells that the provider accepted a message.
type PushSent struct{ PushOutcome }

// PushSkipped tells that the user was not to be, or could not be, reached, and why.
type PushSkipped struct{ PushOutcome }

// PushFailed tells that a message went to the failed queue, and why.
type PushFailed struct{ PushOutcome }

// PushRetried tells that a message waits for another attempt, and for what. It is no outcome: one follows.
type PushRetried struct{ PushOutcome }

// Type implements Event.
func (PushSent) Type() string { return "push.sent" }

// Type implements Event.
func (PushSkipped) Type() string { return "push.skipped" }

// Type implements Event.
func (PushFailed) Type() string { return "push.failed" }

// Type implements Event.
func (PushRetried) Type() string { return "push.retried" }
