package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"user-service/platform/fault"
	"user-service/platform/idempotency"
	"user-service/platform/identity"
	"user-service/platform/postgres"
)

const (
	requestHeader  = "X-Request-Id"
	replayedHeader = "Idempotency-Replayed"
	maxRequestID   = 255
)

var errRequestID = fault.Fields{"X-Request-ID": {"Must be 1 to 255 printable ASCII characters, and be sent once."}}.Err()

// requestID is the id under which a request is to take effect once; empty when the client sent none.
func (r *Router) requestID(req *http.Request) (string, error) {
	sent := req.Header[requestHeader]
	if r.replies == nil || len(sent) == 0 || req.Method == http.MethodGet || req.Method == http.MethodHead {
		return "", nil
	}
	if len(sent) > 1 || sent[0] == "" || len(sent[0]) > maxRequestID {
		return "", errRequestID
	}
	for _, char := range []byte(sent[0]) {
		if char < ' ' || char > '~' {
			return "", errRequestID
		}
	}
	return sent[0], nil
}

func requestOf(req *http.Request, id string, p identity.Principal, body []byte) idempotency.Request {
	return idempotency.Request{Principal: p.Actor(), Method: req.Method, Path: req.URL.Path, ID: id, Body: body}
}

// settling is a request that takes effect once, until it is known what it is answered.
type settling struct {
	*operation
	reservation *idempotency.Reservation
	committed   *reply // what was kept together with the effect
}

type settlingKey struct{}

// InTx is db.InTx for the write of an endpoint: what fn gives is the reply, and where the request is to
// take effect once, it is kept in the same transaction. So a crash neither loses nor repeats the effect.
func InTx[Out any](ctx context.Context, db *postgres.DB, fn func(ctx context.Context) (Out, error)) (out Out, err error) {
	s, _ := ctx.Value(settlingKey{}).(*settling)
	var made reply
	err = db.InTx(ctx, func(ctx context.Context) error {
		if out, err = fn(ctx); err != nil || s == nil {
			return err
		}
		if made, err = success(s.endpoint.Status, s.endpoint.Message, out); err != nil {
			return err
		}
		return s.keep(ctx, made)
	})
	if err == nil && s != nil {
		s.committed = &made
	}
	return out, err
}

// TakesEffectOnce says whether the reply is to be kept together with the effect, by InTx.
func TakesEffectOnce(ctx context.Context) bool {
	_, is := ctx.Value(settlingKey{}).(*settling)
	return is
}

// once has the request executed, unless that was done before.
func (r *Router) once(ctx context.Context, req *http.Request, request idempotency.Request, o *operation) (reply, error) {
	reservation, kept, err := r.replies.Reserve(ctx, request)
	if err != nil {
		return reply{}, err
	}
	if kept != nil {
		return replay(kept), nil
	}
	s := &settling{operation: o, reservation: reservation}
	settled := false
	defer func() {
		if !settled { // also when it panics
			r.release(ctx, reservation)
		}
	}()
	data, err := o.execute(context.WithValue(ctx, settlingKey{}, s), req, request.Body)
	if s.committed != nil {
		settled = true
		return *s.committed, nil
	}
	made, err := s.outcome(data, err)
	if err != nil {
		return reply{}, err
	}
	settled = true
	after, cancel := afterwards(ctx)
	defer cancel()
	if err := s.keep(after, made); err != nil {
		r.log.WarnContext(ctx, "a reply could not be kept", "error", err)
	}
	return made, nil
}

// outcome is the reply to keep. The faults that are not kept are those that another try may not have.
func (s *settling) outcome(data any, err error) (reply, error) {
	if err == nil {
		return success(s.endpoint.Status, s.endpoint.Message, data)
	}
	f := fault.From(err)
	switch f.Kind {
	case fault.Internal, fault.Unavailable, fault.RateLimited, fault.Conflict:
		return reply{}, err
	}
	return refusal(f, nil), nil
}

func (s *settling) keep(ctx context.Context, made reply) error {
	return s.reservation.Finish(ctx, idempotency.Reply{Status: made.status, Challenge: made.challenge, Body: made.body})
}

// afterwards is a context for what is owed to a request that is over, even if its client has left.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
}

// release frees the id for another try. Where it cannot, the end of the lease does.
func (r *Router) release(ctx context.Context, reservation *idempotency.Reservation) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if err := reservation.Release(ctx); err != nil {
		r.log.WarnContext(ctx, "a request id stays taken until its lease is over", "error", err)
	}
}

func replay(kept *idempotency.Reply) reply {
	return reply{status: kept.Status, challenge: kept.Challenge, body: kept.Body, replayed: true}
}

// replayOfEnded is for a client that repeats the very request that ended its session, because it never
// saw the reply: a logout, a change of the password, the end of the account. Anything else is refused.
func (r *Router) replayOfEnded(ctx context.Context, req *http.Request, o *operation, id string, p identity.Principal, refused error) (reply, error) {
	if !errors.Is(refused, identity.ErrTokenInvalid) {
		return reply{}, refused
	}
	var body []byte
	if o.takesBody {
		var err error
		if body, err = read(req); err != nil {
			return reply{}, refused
		}
	}
	kept, err := r.replies.Kept(ctx, requestOf(req, id, p, body))
	if err != nil || kept.Status >= http.StatusBadRequest {
		return reply{}, refused
	}
	return replay(kept), nil
}
