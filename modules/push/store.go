package push

import (
	"context"
	"encoding/json"
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
	sent     status = "sent"
	skipped  status = "skipped"
	failed   status = "failed"
	retrying status = "retrying" // no outcome yet
)

// request asks for the right to work on a message.
type request struct {
	pushMessage
	correlationID string
	movedBack     bool // from the failed queue
}

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
	traceparent       string
}

// reservation is the answer to a request.
type reservation struct {
	state    state
	attempts int        // this one included
	to       *recipient // nil: there is no such user
	asOf     time.Time  // since then it may have changed
}

type state int

const (
	busy     state = iota // somebody else has it for now, as far as is known
	reserved              // it is the asker's
	finished              // it has its outcome
	anothers              // it is that of a message for another user, which has no outcome yet
)

// askedRow is a request as a statement takes it.
type askedRow struct {
	RequestID     string `json:"request_id"`
	UserID        string `json:"user_id"`
	TemplateCode  string `json:"template_code"`
	CorrelationID string `json:"correlation_id"`
}

func (r request) row() askedRow {
	return askedRow{r.RequestID, r.UserID, r.TemplateCode, r.correlationID}
}

// outcomeRow is an outcome as a statement takes it.
type outcomeRow struct {
	askedRow
	Status            status `json:"status"`
	Reason            string `json:"reason"`
	Provider          string `json:"provider"`
	ProviderMessageID string `json:"provider_message_id"`
	Attempts          int    `json:"attempts"`
}

func (o outcome) row() outcomeRow {
	return outcomeRow{
		askedRow{o.RequestID, o.UserID, o.TemplateCode, o.correlationID},
		o.status, o.reason, o.provider, o.providerMessageID, o.attempts,
	}
}

// withAsked and withOutcomes begin a statement about many deliveries, $1, which then goes through them in the order of
// their keys: two that did not could each hold what the other waits for. For a row that somebody keeps
// locked it does not wait long, since all the others wait with it.
const (
	withRows = `
	WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '1s', true)),
	rows AS MATERIALIZED (SELECT * FROM patience, json_to_recordset($1) AS given (
		request_id text, user_id text, template_code text, correlation_id text`
	withAsked    = withRows + `))`
	withOutcomes = withRows + `, status text, reason text, provider text, provider_message_id text, attempts integer))`
)

func rowsOf[T interface{ row() Row }, Row any](all map[string]T) ([]byte, error) {
	made := make([]Row, 0, len(all))
	for _, one := range all {
		made = append(made, one.row())
	}
	return json.Marshal(made)
}

// idsOf are the ids of those that are so: what a row of the table has no column for.
func idsOf[T any](all map[string]T, so func(T) bool) any {
	ids := []string{}
	for id, one := range all {
		if so(one) {
			ids = append(ids, id)
		}
	}
	return postgres.Array(ids)
}

// reserve takes the requests for leaseFor, counts the attempts, and looks up whom they are for. One that has
// failed is taken up again only when its message was moved back.
//
// OFFSET 0 has each recipient looked up by itself: for a join, the planner would read all of them as long as they are
// some thousands.
func (s store) reserve(ctx context.Context, all map[string]request) (map[string]reservation, error) {
	asked, err := rowsOf(all)
	if err != nil {
		return nil, err
	}
	asOf := time.Now()
	taken := make([]struct {
		RequestID string `db:"request_id"`
		Attempts  int    `db:"attempts"`
		Known     bool   `db:"known"`
		recipient
	}, 0, len(all))
	if err := s.db.Select(ctx, &taken, withAsked+`, taken AS (
			INSERT INTO push.deliveries AS d (request_id, user_id, template_code, status, attempts, correlation_id, lease_until)
			SELECT request_id, user_id, template_code, 'sending', 1, correlation_id, now() + make_interval(secs => $2)
			FROM rows ORDER BY request_id
			ON CONFLICT (request_id) DO UPDATE
			SET status = 'sending', attempts = d.attempts + 1, lease_until = EXCLUDED.lease_until, updated_at = now()
			WHERE d.user_id = EXCLUDED.user_id AND (d.status = 'retrying' OR (d.status = 'sending' AND d.lease_until < now())
			   OR (d.status = 'failed' AND d.request_id = ANY ($3)))
			RETURNING request_id, user_id::uuid AS whom, attempts)
		SELECT request_id, attempts, user_id IS NOT NULL AS known, push_token,
		       COALESCE(push_allowed, false) AS push_allowed, COALESCE(is_active, false) AS is_active
		FROM taken LEFT JOIN LATERAL (
			SELECT user_id, push_token, push_allowed, is_active FROM push.recipients WHERE user_id = whom OFFSET 0) AS recipient ON true`,
		asked, leaseFor.Seconds(), idsOf(all, func(r request) bool { return r.movedBack })); err != nil {
		return nil, err
	}
	answers := make(map[string]reservation, len(all))
	for n := range taken {
		answer := reservation{state: reserved, attempts: taken[n].Attempts, asOf: asOf}
		if taken[n].Known {
			answer.to = &taken[n].recipient
		}
		answers[taken[n].RequestID] = answer
	}
	if len(taken) < len(all) {
		s.lookUp(ctx, all, answers)
	}
	return answers, nil
}

// recipient is nil for a user whom it does not know.
func (s store) recipient(ctx context.Context, userID string) (*recipient, error) {
	var found recipient
	err := s.db.Get(ctx, &found, `SELECT push_token, push_allowed, is_active FROM push.recipients WHERE user_id = $1`, userID)
	if errors.Is(err, postgres.ErrNoRows) {
		return nil, nil
	}
	return &found, err
}

// lookUp finds out who of those that got nothing has an outcome. Where that fails they are busy and ask
// again: what others have taken must not fail with it.
func (s store) lookUp(ctx context.Context, all map[string]request, answers map[string]reservation) {
	var found []struct {
		RequestID string `db:"request_id"`
		UserID    string `db:"user_id"`
		Done      bool   `db:"done"`
	}
	_ = s.db.Select(ctx, &found, `
		SELECT request_id, user_id, status NOT IN ('sending', 'retrying') AS done FROM push.deliveries WHERE request_id = ANY ($1)`,
		idsOf(all, func(r request) bool { return answers[r.RequestID].state != reserved }))
	for _, f := range found {
		switch {
		case f.Done:
			answers[f.RequestID] = reservation{state: finished}
		case f.UserID != all[f.RequestID].UserID:
			answers[f.RequestID] = reservation{state: anothers}
		}
	}
}

// release gives a reserved request up for a later attempt; untried takes the attempt back. It is news unless
// the request waits for the same as before and was not even tried. One whose lease was over and that somebody
// else works on, which is another attempt, is left alone.
func (s store) release(ctx context.Context, o outcome, untried bool) (news bool, err error) {
	err = s.db.Get(ctx, &news, `
		UPDATE push.deliveries SET status = 'retrying', reason = CASE $4 WHEN '' THEN reason ELSE $4 END, provider = $5, lease_until = NULL, updated_at = now(),
		       attempts = attempts - CASE WHEN $2 THEN 1 ELSE 0 END
		WHERE request_id = $1 AND status = 'sending' AND attempts = $3
		RETURNING NOT $2 OR reason <> (SELECT reason FROM push.deliveries WHERE request_id = $1) -- as it was`,
		o.RequestID, untried, o.attempts, o.reason, o.provider)
	if errors.Is(err, postgres.ErrNoRows) {
		return false, nil
	}
	return news, err
}

// finish gives the requests their outcomes, and names those that had none.
func (s store) finish(ctx context.Context, all map[string]outcome) (first []string, err error) {
	outcomes, err := rowsOf(all)
	if err != nil {
		return nil, err
	}
	first = make([]string, 0, len(all))
	err = s.db.Select(ctx, &first, withOutcomes+`
		INSERT INTO push.deliveries AS d (request_id, user_id, template_code, status, reason, provider, provider_message_id, attempts, correlation_id)
		SELECT request_id, user_id, template_code, status, reason, provider, provider_message_id, attempts, correlation_id
		FROM rows ORDER BY request_id
		ON CONFLICT (request_id) DO UPDATE
		SET status = EXCLUDED.status, reason = EXCLUDED.reason, provider = EXCLUDED.provider,
		    provider_message_id = EXCLUDED.provider_message_id, lease_until = NULL, updated_at = now()
		WHERE d.status IN ('sending', 'retrying') AND d.request_id <> ALL ($2)
		RETURNING request_id`, outcomes, idsOf(all, func(o outcome) bool { return o.unread }))
	return first, err
}
