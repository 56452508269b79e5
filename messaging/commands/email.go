package commands

import "log/slog"

// SendEmail has a mail with a one-time link sent to a user. It is handled by messaging, which writes
// it to the outbox: the caller must be in a transaction, and the mail leaves when that commits.
type SendEmail struct {
	UserID           string `json:"user_id"`
	Email            string `json:"email"`
	Name             string `json:"name"`
	TemplateCode     string `json:"template_code"` // TemplateVerification or TemplateReset
	Link             string `json:"link"`          // holds the token
	Token            string `json:"token"`
	ExpiresInMinutes int    `json:"expires_in_minutes"` // of the token
}

// The mails there are.
const (
	TemplateVerification = "email_verification"
	TemplateReset        = "password_reset"
)

// String leaves out the token and the address: no log may hold them.
func (c SendEmail) String() string { return c.TemplateCode + " to user " + c.UserID }

// LogValue implements slog.LogValuer.
func (c SendEmail) LogValue() slog.Value { return slog.StringValue(c.String()) }
