package push

import (
	"context"
	"errors"
	"fmt"
	"time"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/correlation"
	"user-service/platform/fault"
)

// Handle works on one message of push.queue. nil means that it has its outcome (or had it already).
func (m *Module) Handle(ctx context.Context, d messaging.Delivery) error {
	message, err := parse(d)
	if err != nil {
		return err
	}
	correlationID := correlation.From(ctx).Correlation
	got, err := m.reservations.Do(ctx, message.RequestID, request{message, correlationID, d.MovedBack})
	switch {
	case err != nil:
		return fmt.Errorf("reserve the request: %w", err)
	case got.state == finished:
		m.metrics.outcome("duplicate", "", "")
		m.log.InfoContext(ctx, "duplicate", "request_id", message.RequestID)
		return nil
	case got.state == anothers:
		return &messaging.Permanent{Reason: requestIDReused, Detail: "the request_id belongs to a message for another user"}
	case got.state == busy:
		return &messaging.Transient{Cause: errBusy, Blameless: true}
	}
	out := outcome{pushMessage: message, attempts: got.attempts, correlationID: correlationID}
	if err := m.decide(ctx, message, got, d.Stopping, &out); err != nil {
		return m.giveBack(ctx, out, err, d.Attempt)
	}
	return m.insist(ctx, out)
}

// insist records an outcome through an outage of the database as long as ctx allows: the provider
// has the message already, and to give it back would send it once more.
func (m *Module) insist(ctx context.Context, out outcome) error {
	for {
		err := m.record(ctx, out)
		if fault.From(err).Kind != fault.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// requestIDReused is the reason of a message that must not get the outcome of another one.
const requestIDReused = "request_id_reused"

var (
	errBusy   = errors.New("another instance is working on this request")
	errNoTurn = errors.New("those that are being sent take too long")
)

// decide sends the message when it is its turn, or finds out why it must not be sent.
func (m *Module) decide(ctx context.Context, message pushMessage, got reservation, stopping <-chan struct{}, out *outcome) error {
	if err := m.turn(ctx, stopping); err != nil {
		return &messaging.Transient{Cause: err, Blameless: true}
	}
	defer m.sending.leave()
	to, err := m.whom(ctx, message.UserID, got)
	switch {
	case err != nil:
		return err
	case to == nil:
		return &messaging.Permanent{Reason: "unknown_user", Detail: "there is no user " + message.UserID}
	}
	if reason := to.unreachable(); reason != "" {
		out.status, out.reason = skipped, reason
		return nil
	}
	text, err := m.templates.render(ctx, message.TemplateCode, message.Language, message.Variables)
	if err != nil {
		return asMessage(err)
	}
	provider := senderTo(m.providers, *to.PushToken)
	out.provider = provider.Name()
	out.providerMessageID, err = provider.Send(ctx, Notification{
		RequestID: message.RequestID, UserID: message.UserID, Token: *to.PushToken,
		Title: text.Title, Body: text.Body, Data: message.Variables, Priority: message.Priority,
	})
	out.status = sent
	if dead, ok := errors.AsType[*DeadToken](err); ok {
		return m.forget(ctx, message, *to.PushToken, dead, err)
	}
	return asMessage(err)
}

// turnWithin is how long a message waits for its turn: what is left of its time must be enough to send it.
const turnWithin = 5 * time.Second

// turn takes a seat among those that are sent. When the process is about to end, nobody waits for one any more: the
// message would be sent at a time when its outcome may not be recorded.
func (m *Module) turn(ctx context.Context, stopping <-chan struct{}) error {
	if m.sending.take(ctx, stopping, turnWithin) {
		return nil
	}
	select {
	case <-stopping:
		return messaging.ErrStopping
	default:
		return errNoTurn
	}
}

// whom is the recipient as it was staleAfter ago at the most: a message may have waited for a row that somebody held, or
// for its turn.
func (m *Module) whom(ctx context.Context, userID string, got reservation) (*recipient, error) {
	if time.Since(got.asOf) < staleAfter {
		return got.to, nil
	}
	to, err := m.store.recipient(ctx, userID)
	if err != nil {
		err = fmt.Errorf("look up the recipient: %w", err)
	}
	return to, err
}

// staleAfter is long enough for messages that do not have to wait, and hardly noticed by who switches push off.
const staleAfter = 100 * time.Millisecond

// forget has a dead token be removed.
func (m *Module) forget(ctx context.Context, message pushMessage, token string, dead *DeadToken, err error) error {
	command := commands.ForgetPushToken{UserID: message.UserID, PushToken: token, Before: dead.Since}
	var none bool
	if err := m.db.InTx(ctx, func(ctx context.Context) (err error) {
		none, err = messaging.Ask[bool](ctx, m.bus, command)
		return err
	}); err != nil {
		return fmt.Errorf("forget a dead token: %w", err)
	}
	if !none {
		return &messaging.Transient{Cause: errTokenReplaced}
	}
	return &messaging.Permanent{Reason: "token_unregistered", Detail: dead.Error(), Cause: err}
}

var errTokenReplaced = errors.New("the user has a newer token")

// asMessage says in the terms of messaging what a provider or the template service answered.
func asMessage(err error) error {
	if err == nil {
		return nil
	}
	if _, final := errors.AsType[*messaging.Permanent](err); final {
		return err
	}
	if refused, ok := errors.AsType[*Rejected](err); ok {
		return &messaging.Permanent{Reason: refused.Reason, Detail: refused.Detail, Cause: err}
	}
	transient := &messaging.Transient{Cause: err, Blameless: errors.Is(err, errNotTried)}
	if away, ok := errors.AsType[*Away](err); ok {
		transient.RetryAfter, transient.Blameless = away.RetryAfter, away.Everybody || away.Settings
	}
	return transient
}

// giveBack frees the request for another attempt. Where err is for good, or this was the last attempt,
// Failed finishes it.
func (m *Module) giveBack(ctx context.Context, o outcome, err error, attempt int) error {
	if _, final := errors.AsType[*messaging.Permanent](err); final {
		return err
	}
	transient, _ := errors.AsType[*messaging.Transient](err)
	untried := fault.From(err).Kind == fault.Unavailable || (transient != nil && transient.Blameless)
	if !untried && attempt >= m.attempts {
		return err
	}
	o.status, o.reason = retrying, waitsFor(o, err)
	o.traceparent = correlation.From(ctx).Traceparent
	// Not freed, the lease runs out: the message is only later than it could be.
	if err := m.postpone(context.WithoutCancel(ctx), o, untried); err != nil {
		m.log.WarnContext(ctx, "request not released", "request_id", o.RequestID, "error", err)
	}
	return err
}

// waitsFor is the reason why a message is not sent yet, "" when it goes back at once.
func waitsFor(o outcome, err error) string {
	_, away := errors.AsType[*Away](err)
	untried := errors.Is(err, errNotTried)
	switch {
	case fault.From(err).Kind == fault.Unavailable:
		return "database_unavailable"
	case errors.Is(err, errTokenReplaced):
		return "token_replaced"
	case errors.Is(err, messaging.ErrStopping):
		return ""
	case errors.Is(err, errNoTurn):
		return "busy"
	case providerOf(err) != "", untried && o.provider != "":
		return "provider_unavailable"
	case away, untried:
		return "template_unavailable"
	}
	return "internal_error"
}

// postpone has a request wait, and tells the world what for.
func (m *Module) postpone(ctx context.Context, o outcome, untried bool) error {
	return m.db.InTx(ctx, func(ctx context.Context) error {
		news, err := m.store.release(ctx, o, untried)
		if err != nil || !news {
			return err
		}
		if untried {
			o.attempts--
		}
		return m.tell(ctx, o)
	})
}

// Failed records a message that is in the failed queue, when it says whose it is.
func (m *Module) Failed(ctx context.Context, d messaging.Delivery, why *messaging.Permanent) error {
	message, unread := parse(d) // what could be read of it
	if message.RequestID == "" || message.UserID == "" {
		m.metrics.outcome(failed, "", why.Reason)
		return nil
	}
	out := outcome{
		unread: unread != nil || why.Reason == requestIDReused, pushMessage: message, status: failed, reason: why.Reason, attempts: d.Attempt,
		provider: providerOf(why), correlationID: correlation.From(ctx).Correlation,
	}
	return m.record(ctx, out)
}

// record gives a request its outcome and tells the world, once.
func (m *Module) record(ctx context.Context, o outcome) error {
	o.traceparent = correlation.From(ctx).Traceparent
	_, err := m.outcomes.Do(ctx, o.RequestID, o)
	return err
}

// recordAll is record for all outcomes that have come about at the same time.
func (m *Module) recordAll(ctx context.Context, all map[string]outcome) (map[string]struct{}, error) {
	var first []string
	err := m.db.InTx(ctx, func(ctx context.Context) (err error) {
		if first, err = m.store.finish(ctx, all); err != nil {
			return fmt.Errorf("record the outcome: %w", err)
		}
		return m.bus.Together(ctx, func(ctx context.Context) error {
			for _, id := range first {
				if err := m.tell(ctx, all[id]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for _, id := range first {
		m.metrics.outcome(all[id].status, all[id].provider, all[id].reason)
	}
	return nil, nil
}

// tell goes on with the ids of o's own message.
func (m *Module) tell(ctx context.Context, o outcome) error {
	ctx = correlation.With(ctx, correlation.IDs{Correlation: o.correlationID, Traceparent: o.traceparent})
	told := events.PushOutcome{
		RequestID: o.RequestID, UserID: o.UserID, TemplateCode: o.TemplateCode, Provider: o.provider,
		ProviderMessageID: o.providerMessageID, Reason: o.reason, Attempts: o.attempts,
	}
	switch o.status {
	case sent:
		return m.bus.Publish(ctx, events.PushSent{PushOutcome: told})
	case skipped:
		return m.bus.Publish(ctx, events.PushSkipped{PushOutcome: told})
	case retrying:
		return m.bus.Publish(ctx, events.PushRetried{PushOutcome: told})
	default:
		return m.bus.Publish(ctx, events.PushFailed{PushOutcome: told})
	}
}
