package push

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"user-service/platform/fault"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/web"
)

// reach is how many deliveries of a list a client can page to, and how many are counted.
const reach = 10_000

var errNoSuchDelivery = fault.New(fault.NotFound, "not_found", "There is no notification with this request_id.")

// delivery is what is known of one message, as it is shown.
type delivery struct {
	RequestID         string    `db:"request_id" json:"request_id" doc:"Id that its producer gave it." example:"unique-id"`
	UserID            string    `db:"user_id" json:"user_id" doc:"Whom it is for." example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	TemplateCode      string    `db:"template_code" json:"template_code" doc:"What it says." example:"welcome_notification"`
	Status            string    `db:"status" json:"status" doc:"What became of it so far." enum:"sending,retrying,sent,skipped,failed" example:"sent"`
	Reason            string    `db:"reason" json:"reason" doc:"Why it was not sent, or not yet." example:"push_disabled"`
	Provider          string    `db:"provider" json:"provider" doc:"Who took it to the device, or refused to." example:"webhook"`
	ProviderMessageID string    `db:"provider_message_id" json:"provider_message_id" doc:"Id that the provider gave it." example:"provider-1"`
	Attempts          int       `db:"attempts" json:"attempts" doc:"How often it was tried." example:"1"`
	CorrelationID     string    `db:"correlation_id" json:"correlation_id" doc:"Id that ties together all that one request caused." example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	CreatedAt         time.Time `db:"created_at" json:"created_at" doc:"When it was taken from the queue first."`
	UpdatedAt         time.Time `db:"updated_at" json:"updated_at" doc:"When its status changed last."`
}

type ownDeliveries struct {
	Page web.Page `query:"page"`
}

func (m *Module) listOwn(ctx context.Context, in ownDeliveries) (web.List[delivery], error) {
	principal, _ := identity.From(ctx)
	return m.list(ctx, deliveryQuery{Page: in.Page, UserID: &principal.UserID})
}

// deliveryQuery is what the staff asks for.
type deliveryQuery struct {
	Page         web.Page `query:"page"`
	Status       *string  `query:"status" doc:"What became of it so far." enum:"sending,retrying,sent,skipped,failed" example:"failed"`
	UserID       *string  `query:"user_id" doc:"Whom it is for." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	TemplateCode *string  `query:"template_code" doc:"What it says." example:"welcome_notification"`
}

var statuses = []string{"sending", string(retrying), string(sent), string(skipped), string(failed)}

func (q *deliveryQuery) validate() error {
	fields := fault.Fields{}
	if q.Status != nil && !slices.Contains(statuses, *q.Status) {
		fields.Add("status", "Must be one of "+strings.Join(statuses, ", ")+".")
	}
	if q.UserID != nil {
		id, err := uuid.Parse(*q.UserID)
		if err != nil {
			fields.Add("user_id", "Must be a UUID.")
		}
		*q.UserID = id.String()
	}
	if q.Page.Offset() >= reach {
		fields.Add("page", "Only the first 10000 notifications of a list can be reached. Narrow it down.")
	}
	return fields.Err()
}

func (m *Module) list(ctx context.Context, q deliveryQuery) (web.List[delivery], error) {
	if err := q.validate(); err != nil {
		return web.List[delivery]{}, err
	}
	deliveries, total, err := m.store.list(ctx, q)
	return web.List[delivery]{Items: deliveries, Total: min(total, reach), Page: q.Page, Estimated: total > reach, Reach: reach}, err
}

type deliveryPath struct {
	RequestID string `path:"request_id" doc:"Id that the notification's producer gave it." example:"unique-id"`
}

func (m *Module) showDelivery(ctx context.Context, in deliveryPath) (delivery, error) {
	d, err := m.store.delivery(ctx, in.RequestID)
	if errors.Is(err, postgres.ErrNoRows) {
		err = errNoSuchDelivery
	}
	return d, err
}
