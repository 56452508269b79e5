package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"user-service/messaging"
	"user-service/platform/mail"
)

// pages of the client's, which post the token: mail scanners open links, so to open one must use
// nothing up.
var pages = map[purpose]string{emailVerification: "/verify-email", passwordReset: "/reset-password"}

func (s Settings) link(of purpose, token string) string {
	return strings.TrimRight(s.PublicURL, "/") + pages[of] + "?token=" + url.QueryEscape(token)
}

// Mailer sends the module's mails where no Email Service does. A mail is sent twice only when the
// mail server's acceptance was not heard of, and both have one Message-ID.
type Mailer struct {
	Sender mail.Sender
	Log    *slog.Logger
}

// Handle works on one message of messaging.MailQueue.
func (m Mailer) Handle(ctx context.Context, d messaging.Delivery) error {
	email, err := messaging.EmailFrom(d)
	if err != nil {
		return err
	}
	log := m.Log.With("logger", "mail", "request_id", email.RequestID, "user_id", email.UserID, "template_code", email.TemplateCode)
	if !email.ExpiresAt.IsZero() && time.Now().After(email.ExpiresAt) {
		log.WarnContext(ctx, "mail skipped: its link has expired")
		return nil
	}
	letter, err := write(email)
	if err != nil {
		return err
	}
	if err := m.Sender.Send(ctx, letter); err != nil {
		return understand(err)
	}
	log.InfoContext(ctx, "mail sent")
	return nil
}

// understand says in the terms of messaging what the sender met. An outage is no attempt: a mail that
// waits for the server to come back fails by nothing but its age.
func understand(err error) error {
	if rejected, ok := errors.AsType[*mail.Rejected](err); ok {
		return &messaging.Permanent{Reason: "mail_rejected", Detail: rejected.Detail}
	}
	away, ok := errors.AsType[*mail.Away](err)
	return &messaging.Transient{Cause: err, Blameless: ok && away.Outage}
}
