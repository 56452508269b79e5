package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/messaging/commands"
	"user-service/platform/correlation"
	"user-service/platform/postgres"
)

const (
	mailTopic    = "email" // of a row of the outbox; no event has it, since their types have a dot
	mailSource   = "mail"  // no module's name
	mailPriority = 5       // somebody sits and waits for it, of 0 to 10
)

// sendEmail is the handler of commands.SendEmail.
func (o *Outbox) sendEmail(ctx context.Context, c *commands.SendEmail) error {
	return o.send(ctx, mailTopic, mailSource, c.UserID, c)
}

// send writes a command to another service, which has no number: the events' numbers have no gaps.
func (o *Outbox) send(ctx context.Context, topic, source, subject string, command any) error {
	if !postgres.InTransaction(ctx) {
		return errOutsideTx
	}
	msg, err := plainJSON{}.Marshal(command)
	if err != nil {
		return err
	}
	ids := correlation.From(ctx)
	msg.Metadata[metaTopic], msg.Metadata[metaSource], msg.Metadata[metaSubject] = topic, source, subject
	msg.Metadata[metaCorrelation], msg.Metadata[metaTraceparent] = ids.Correlation, ids.Traceparent
	msg.SetContext(ctx)
	return o.Publish(topic, msg)
}

// emailMessage is a mail on its way to whoever sends it, CONTRACT "Published: email.queue".
type emailMessage struct {
	NotificationType string         `json:"notification_type"`
	UserID           string         `json:"user_id"`
	TemplateCode     string         `json:"template_code"`
	Variables        emailVariables `json:"variables"`
	RequestID        string         `json:"request_id"`
	Priority         int            `json:"priority"`
	Metadata         emailMetadata  `json:"metadata"`
}

type emailVariables struct {
	Name             string `json:"name"`
	Link             string `json:"link"`
	Token            string `json:"token"`
	ExpiresInMinutes int    `json:"expires_in_minutes"`
}

type emailMetadata struct {
	Email string `json:"email"`
}

// email is mandatory: a message that no queue takes is confirmed and gone, and a mail must not be.
func (r outboxRow) email(t Topology) (outgoing, error) {
	var c commands.SendEmail
	if err := json.Unmarshal(r.Data, &c); err != nil {
		return outgoing{}, err
	}
	body, err := json.Marshal(emailMessage{
		NotificationType: "email", UserID: c.UserID, TemplateCode: c.TemplateCode, RequestID: r.ID.String(), Priority: mailPriority,
		Variables: emailVariables{Name: c.Name, Link: c.Link, Token: c.Token, ExpiresInMinutes: c.ExpiresInMinutes},
		Metadata:  emailMetadata{Email: c.Email},
	})
	exchange, key := t.mailRoute()
	return outgoing{exchange: exchange, key: key, mandatory: true, Publishing: amqp.Publishing{
		Headers: r.headers(), ContentType: "application/json", MessageId: r.ID.String(), CorrelationId: r.CorrelationID,
		Priority: mailPriority, Timestamp: r.CreatedAt, Body: body,
	}}, err
}

// Email is a mail that waits in MailQueue.
type Email struct {
	commands.SendEmail
	RequestID string    // the same at every attempt
	ExpiresAt time.Time // of its token; zero when nobody knows
}

// EmailFrom reads a message of MailQueue; it is Permanent `malformed` when that is none.
func EmailFrom(d Delivery) (Email, error) {
	var m emailMessage
	if err := json.Unmarshal(d.Body, &m); err != nil {
		return Email{}, &Permanent{Reason: "malformed", Detail: fmt.Sprintf("the body is no mail: %v", err)}
	}
	if m.NotificationType != "email" || m.RequestID == "" || m.Metadata.Email == "" || m.Variables.Link == "" {
		return Email{}, &Permanent{Reason: "malformed", Detail: "a mail needs notification_type email, request_id, metadata.email and variables.link"}
	}
	email := Email{RequestID: m.RequestID, SendEmail: commands.SendEmail{
		UserID: m.UserID, Email: m.Metadata.Email, Name: m.Variables.Name, TemplateCode: m.TemplateCode,
		Link: m.Variables.Link, Token: m.Variables.Token, ExpiresInMinutes: m.Variables.ExpiresInMinutes,
	}}
	if !d.Time.IsZero() {
		email.ExpiresAt = d.Time.Add(time.Duration(m.Variables.ExpiresInMinutes) * time.Minute)
	}
	return email, nil
}
