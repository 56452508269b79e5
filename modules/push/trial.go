package push

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/web"
)

const defaultTemplate = "welcome_notification"

// trial is what a user may say of a notification to themselves.
type trial struct {
	TemplateCode *string                     `json:"template_code" doc:"Which template; the welcome when left out." example:"welcome_notification"`
	Variables    *map[string]json.RawMessage `json:"variables" doc:"What the template fills in."`
	Priority     *int                        `json:"priority" doc:"10 comes first." minimum:"1" maximum:"10" example:"1"`
	Metadata     *map[string]json.RawMessage `json:"metadata" doc:"Its language chooses the text; all else goes along unread."`
}

type trialReceipt struct {
	RequestID string `json:"request_id" doc:"Id of the notification."  example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
}

func (t trial) validate() error {
	fields := fault.Fields{}
	if t.TemplateCode != nil && (*t.TemplateCode == "" || !storable(*t.TemplateCode, maxTemplateCode)) {
		fields.Add("template_code", "Must be 1 to 255 bytes long, without control characters.")
	}
	if t.Priority != nil && (*t.Priority < 1 || *t.Priority > maxPriority) {
		fields.Add("priority", "Must be a whole number from 1 to 10.")
	}
	return fields.Err()
}

// try sends the caller a notification by the way of any other: over push.queue.
func (m *Module) try(ctx context.Context, in trial) (trialReceipt, error) {
	if err := in.validate(); err != nil {
		return trialReceipt{}, err
	}
	principal, _ := identity.From(ctx)
	user, err := messaging.Ask[commands.User](ctx, m.bus, commands.DescribeUser{UserID: principal.UserID})
	if err != nil {
		return trialReceipt{}, err
	}
	message := commands.SendPush{
		RequestID: uuid.NewString(), UserID: user.ID, TemplateCode: or(in.TemplateCode, defaultTemplate), Priority: or(in.Priority, 1),
		Variables: or(in.Variables, nil), Metadata: or(in.Metadata, map[string]json.RawMessage{}),
	}
	if message.Variables == nil { // what the template of the default wants
		name, err := json.Marshal(user.Name)
		if err != nil {
			return trialReceipt{}, err
		}
		message.Variables = map[string]json.RawMessage{"name": name}
	}
	return web.InTx(ctx, m.db, func(ctx context.Context) (trialReceipt, error) {
		return trialReceipt{message.RequestID}, m.bus.Send(ctx, message)
	})
}

func or[T any](chosen *T, otherwise T) T {
	if chosen == nil {
		return otherwise
	}
	return *chosen
}
