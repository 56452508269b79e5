package push

import (
	"context"
	"errors"
	"time"

	"user-service/platform/postgres"
)

type store struct{ db *postgres.DB }

// leaseFor is how long a reserved request is left to whoever reserved it. It is longer than a
// message can be in the works.
const leaseFor = time.Minute

type status string

const (
	sent    status = "sent"
	skipped status = "skipped"
	failed  status = "failed"
)

// outcome is what became of a request.
type outcome struct {
	pushMessage
	unread            bool // the message was never worked on: a request in the works is another one's
	status            status
	reason            string
	provider          string
	providerMessageID string
	attempts          int
	correlationID     string
}

// reservation is the answer to who may work on a request.
type reservation int

const (
	reserved reservation = iota
	busy                 // somebody else has it for now
	finished             // it has its outcome
)

// reserve takes the request for leaseFor and counts the attempt. One that has failed is taken up again
// only when its message was moved back.
func (s store) reserve(ctx context.Context, m pushMessage, correlationID string, movedBack bool) (reservation, int, error) {
	var attempts int
	err := s.db.Get(ctx, &attempts, `
		INSERT INTO push.deliveries AS d (request_id, user_id, template_code, status, attempts, correlation_id, lease_until)
		VALUES ($1, $2, $3, 'sending', 1, $4, now() + make_interval(secs => $5))
		ON CONFLICT (request_id) DO UPDATE
		SET status = 'sending', reason = '', attempts = d.attempts + 1, lease_until = EXCLUDED.lease_until, updated_at = now()
		WHERE d.status = 'retrying' OR (d.status = 'sending' AND d.lease_until < now()) OR (d.status = 'failed' AND $6)
		RETURNING attempts`,
		m.RequestID, m.UserID, m.TemplateCode, correlationID, leaseFor.Seconds(), movedBack)
	if err == nil || !errors.Is(err, postgres.ErrNoRows) {
		return reserved, attempts, err
	}
	var unfinished bool
	err = s.db.Get(ctx, &unfinished, `SELECT status IN ('sending', 'retrying') FROM push.deliveries WHERE request_id = $1`, m.RequestID)
	if unfinished {
		return busy, 0, err
	}
	return finished, 0, err
}

// release gives a reserved request up for a later attempt; untried takes the attempt back.
func (s store) release(ctx context.Context, requestID string, untried bool) error {
	_, err := s.db.Exec(ctx, `
		UPDATE push.deliveries SET status = 'retrying', lease_until = NULL, updated_at = now(),
		       attempts = attempts - CASE WHEN $2 THEN 1 ELSE 0 END
		WHERE request_id = $1 AND status = 'sending'`, requestID, untried)
	return err
}

// finish gives the request its outcome; false when it has one.
func (s store) finish(ctx context.Context, o outcome) (first bool, err error) {
	n, err := s.db.Exec(ctx, `
		INSERT INTO push.deliveries AS d (request_id, user_id, template_code, status, reason, provider, provider_message_id, attempts, correlation_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (request_id) DO UPDATE
		SET status = EXCLUDED.status, reason = EXCLUDED.reason, provider = EXCLUDED.provider,
		    provider_message_id = EXCLUDED.provider_message_id, lease_until = NULL, updated_at = now()
		WHERE d.status IN ('sending', 'retrying') AND NOT $10`,
		o.RequestID, o.UserID, o.TemplateCode, string(o.status), o.reason, o.provider, o.providerMessageID, o.attempts, o.correlationID, o.unread)
	return n == 1, err
}
