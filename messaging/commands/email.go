package commands

// SendEmail has a mail with a one-time token sent. It is handled by package messaging, which puts it
// into the outbox. It must not be logged: it carries the token.
type SendEmail struct {
	UserID           string `json:"user_id"`
	Email            string `json:"email"`
	Name             string `json:"name"`
	TemplateCode     string `json:"template_code"` // email_verification or password_reset
	Link             string `json:"link"`
	Token            string `json:"token"`
	ExpiresInMinutes int    `json:"expires_in_minutes"`
}
