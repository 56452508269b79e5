// Package idempotency has a request take effect once however often it is sent. The first reserves its
// id, in PostgreSQL, so that one wins among all instances; its reply is kept, in the transaction of the
// effect, for whoever repeats it. An instance that dies while it works frees the id when its lease is
// over, and one that was only thought to be dead cannot commit any more. Only the database's clock
// counts. What is kept is encrypted, and no id, address or body can be read from it.
//
// It follows the IETF draft "The Idempotency-Key HTTP Header Field".
package idempotency

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"user-service/platform/fault"
	"user-service/platform/postgres"
)

const (
	lease   = time.Minute    // longer than a request may take
	keptFor = 24 * time.Hour // since the first
)

// The faults of a repeat that is not answered as the first.
var (
	ErrRunning = &fault.Fault{
		Kind: fault.Conflict, Code: "request_in_progress", RetryAfter: time.Second,
		Message: "A request with this X-Request-ID is still being worked on. Please ask again in a moment.",
	}
	ErrReused = fault.New(fault.Unprocessable, "request_id_reused",
		"This X-Request-ID was used for another body. Send a new id with each new request, and the same one only to repeat it.")
)

// Request is what a client wants done once.
type Request struct {
	Principal string // who asks
	Method    string
	Path      string
	ID        string // the client's, of its own choice
	Body      []byte
}

// Reply is what the first execution was answered.
type Reply struct {
	Status    int    `json:"status"`
	Challenge string `json:"challenge,omitempty"` // WWW-Authenticate
	Body      []byte `json:"body"`
}

// Store keeps replies.
type Store struct {
	db   *postgres.DB
	seal seal
}

// New makes a store whose contents only secret opens.
func New(db *postgres.DB, secret []byte) (*Store, error) {
	seal, err := newSeal(secret)
	return &Store{db, seal}, err
}

// Reservation is the right to execute a request.
type Reservation struct {
	store *Store
	key   []byte
	owner string
}

// Reserve gives either a reservation or the kept reply, or ErrRunning or ErrReused. It must not be
// called in a transaction: others have to see it at once.
func (s *Store) Reserve(ctx context.Context, r Request) (*Reservation, *Reply, error) {
	key, fingerprint, owner := s.seal.key(r), s.seal.fingerprint(r), uuid.NewString()
	var reserved []string
	err := s.db.Select(ctx, &reserved, `
		INSERT INTO idempotency.requests AS r (key, fingerprint, owner, lease_until, expires_at)
		VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), clock_timestamp() + make_interval(secs => $5))
		ON CONFLICT (key) DO UPDATE SET
			fingerprint = excluded.fingerprint, owner = excluded.owner, lease_until = excluded.lease_until, expires_at = excluded.expires_at, reply = NULL
		WHERE r.expires_at < clock_timestamp() OR (r.reply IS NULL AND r.lease_until < clock_timestamp())
		RETURNING owner`, key, fingerprint, owner, lease.Seconds(), keptFor.Seconds())
	if err != nil {
		return nil, nil, err
	}
	if len(reserved) == 1 {
		return &Reservation{s, key, owner}, nil, nil
	}
	reply, err := s.Kept(ctx, r)
	if errors.Is(err, postgres.ErrNoRows) { // freed a moment ago
		err = ErrRunning
	}
	return nil, reply, err
}

// Kept gives the reply to the first execution of r, or ErrRunning or ErrReused; postgres.ErrNoRows
// when there was none.
func (s *Store) Kept(ctx context.Context, r Request) (*Reply, error) {
	var row struct {
		Key         []byte `db:"key"`
		Fingerprint []byte `db:"fingerprint"`
		Reply       []byte `db:"reply"`
	}
	err := s.db.Get(ctx, &row, `
		SELECT key, fingerprint, reply FROM idempotency.requests WHERE key = $1 AND expires_at > clock_timestamp()`, s.seal.key(r))
	switch {
	case err != nil:
		return nil, err
	case string(row.Fingerprint) != string(s.seal.fingerprint(r)):
		return nil, ErrReused
	case row.Reply == nil:
		return nil, ErrRunning
	}
	return s.seal.open(row.Key, row.Reply)
}

// Finish keeps the reply, in the transaction of ctx if there is one. ErrRunning says that the lease was
// over and somebody else has taken the request on: the transaction must not commit.
func (r *Reservation) Finish(ctx context.Context, reply Reply) error {
	sealed, err := r.store.seal.close(r.key, reply)
	if err != nil {
		return err
	}
	finished, err := r.store.db.Exec(ctx, `
		UPDATE idempotency.requests SET reply = $3 WHERE key = $1 AND owner = $2 AND reply IS NULL`, r.key, r.owner, sealed)
	if err == nil && finished == 0 {
		return ErrRunning
	}
	return err
}

// Release frees the id, unless the request is finished or somebody else has taken it on.
func (r *Reservation) Release(ctx context.Context) error {
	_, err := r.store.db.Exec(ctx, `
		DELETE FROM idempotency.requests WHERE key = $1 AND owner = $2 AND reply IS NULL`, r.key, r.owner)
	return err
}
