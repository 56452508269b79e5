package push

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"user-service/messaging"
	"user-service/platform/fault"
	"user-service/platform/identity"
)

// Described is what can be read of a dead letter, whatever is wrong with it.
type Described struct{ ID, UserID, TemplateCode string }

// Describe reads one. A letter without any id has a digest of its body.
func Describe(letter messaging.DeadLetter) Described {
	m, _ := parse(letter.Delivery)
	sum := sha256.Sum256(letter.Body)
	return Described{cmp.Or(m.RequestID, letter.MessageID, hex.EncodeToString(sum[:6])), m.UserID, m.TemplateCode}
}

// Choice is of dead letters; what is empty is not asked for.
type Choice struct {
	IDs              []string // nil: any; of an empty list there is none
	Reason, Template string
	OlderThan        time.Duration // they failed longer ago
}

// IsEmpty tells whether nothing is asked for.
func (c Choice) IsEmpty() bool {
	return c.IDs == nil && c.Reason == "" && c.Template == "" && c.OlderThan == 0
}

// Takes tells whether a letter is one of these.
func (c Choice) Takes(letter messaging.DeadLetter, what Described) bool {
	return (c.IDs == nil || slices.Contains(c.IDs, what.ID)) &&
		(c.Reason == "" || c.Reason == letter.Reason) && (c.Template == "" || c.Template == what.TemplateCode) &&
		(c.OlderThan == 0 || (!letter.FailedAt.IsZero() && time.Since(letter.FailedAt) > c.OlderThan))
}

const (
	maxIDs         = 1000
	requeueWithin  = 5 * time.Second // before the client or a proxy gives up
	brokerWithin   = 2 * time.Second
	maxHoursSought = 10 * 365 * 24
)

// requeue is what the staff asks for.
type requeue struct {
	RequestIDs   *[]string `json:"request_ids" doc:"Only these; at most 1000." example:"unique-id"`
	Reason       *string   `json:"reason" doc:"Only those that failed for this reason." example:"unknown_template"`
	TemplateCode *string   `json:"template_code" doc:"Only those of this template." example:"welcome_notification"`
	OlderThan    *int      `json:"older_than_hours" doc:"Only those that failed longer ago." minimum:"1" maximum:"87600" example:"24"`
	All          *bool     `json:"all" doc:"All that there are; needed where nothing else is said." example:"false"`
	DryRun       *bool     `json:"dry_run" doc:"Only say how many it would be." example:"true"`
}

func (r requeue) choice() (Choice, error) {
	fields := fault.Fields{}
	c := Choice{IDs: or(r.RequestIDs, nil), Reason: or(r.Reason, ""), Template: or(r.TemplateCode, "")}
	if len(c.IDs) > maxIDs {
		fields.Add("request_ids", "Must be at most 1000.")
	}
	if hours := or(r.OlderThan, 1); hours < 1 || hours > maxHoursSought {
		fields.Add("older_than_hours", "Must be a whole number from 1 to 87600.")
	}
	c.OlderThan = time.Duration(or(r.OlderThan, 0)) * time.Hour
	if c.IsEmpty() && !or(r.All, false) {
		fields.Add("all", "Must be true where nothing else says which notifications.")
	}
	return c, fields.Err()
}

type requeued struct {
	Requeued int  `json:"requeued" doc:"How many were given back, or would be." example:"3"`
	Stuck    int  `json:"stuck" doc:"How many stay where they are, since the queue they came from is gone." example:"0"`
	Looked   int  `json:"looked_at" doc:"How many failed messages were looked at." example:"120"`
	Complete bool `json:"complete" doc:"Whether all were; if not, ask again." example:"true"`
}

// giveBackFailed has failed messages be handled once more, with all their attempts before them.
func (m *Module) giveBackFailed(ctx context.Context, in requeue) (out requeued, err error) {
	choice, err := in.choice()
	if err != nil {
		return out, err
	}
	if err := m.failed.Connection.Connected(ctx, brokerWithin); err != nil {
		return out, fault.Away(err)
	}
	verdict := messaging.Requeue
	if or(in.DryRun, false) {
		verdict = messaging.Keep
	}
	start, chosen := time.Now(), 0
	out.Complete = true
	walked, err := m.failed.Walk(ctx, func(n, of int, letter messaging.DeadLetter) (messaging.Verdict, bool) {
		out.Looked, out.Complete = n, n == of
		more := time.Since(start) < requeueWithin
		if !choice.Takes(letter, Describe(letter)) {
			return messaging.Keep, more
		}
		chosen++
		return verdict, more
	})
	if err != nil {
		return out, fault.Away(err)
	}
	if verdict == messaging.Keep {
		out.Requeued = chosen
		return out, nil
	}
	out.Requeued, out.Stuck = walked.Done, walked.Stuck
	principal, _ := identity.From(ctx)
	m.log.InfoContext(ctx, "failed messages were given back", "by", principal.Actor(), "messages", walked.Done, "stuck", walked.Stuck)
	return out, nil
}
