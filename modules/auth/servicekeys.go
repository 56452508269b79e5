package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"user-service/platform/identity"
	"user-service/platform/postgres"
)

const (
	keyPrefix    = "usk_"           // so that secret scanners find keys that were checked in
	hintLength   = len("usk_") + 4  // of a key, kept to tell keys apart
	keysTrusted  = time.Second      // how old the list may be by which a key is judged
	keyUsedEvery = 30 * time.Second // how often the time of the last use is written
)

// serviceKeyName is what a key may be called.
var serviceKeyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// ServiceKey is a key of a sibling service as operators see it; the key itself is shown once.
type ServiceKey struct {
	ID         string     `db:"id"`
	Name       string     `db:"name"`
	Hint       string     `db:"hint"`
	CreatedAt  time.Time  `db:"created_at"`
	LastUsedAt *time.Time `db:"last_used_at"`
	RevokedAt  *time.Time `db:"revoked_at"`
}

// serviceKeys judges keys by a list that each instance reads at most once a second.
type serviceKeys struct {
	db *postgres.DB

	mu      sync.Mutex
	keys    map[[sha256.Size]byte]usedKey
	loaded  time.Time
	failed  time.Time // when it was last tried in vain, and why
	failure error
	used    map[string]time.Time // id → last use that is not written yet
}

type usedKey struct{ id, name string }

func newServiceKeys(db *postgres.DB) *serviceKeys {
	return &serviceKeys{db: db, used: map[string]time.Time{}}
}

// CreateServiceKey makes a key and gives it, once: only its SHA-256 is kept.
func (m *Module) CreateServiceKey(ctx context.Context, name string) (key string, err error) {
	if !serviceKeyName.MatchString(name) {
		return "", fmt.Errorf("the name %q is not valid; accepted: up to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit", name)
	}
	key = keyPrefix + tokenText.EncodeToString(randomBytes())
	return key, m.db.InTx(ctx, func(ctx context.Context) error {
		n, err := m.db.Exec(ctx, `
			INSERT INTO auth.service_keys (id, name, hash, hint) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING`,
			uuid.NewString(), name, digest([]byte(key)), key[:hintLength])
		if err == nil && n == 0 {
			err = fmt.Errorf("there is a service key %q already; revoke it first, or choose another name", name)
		}
		if err != nil {
			return err
		}
		return m.record(ctx, entry{action: "service_key_created", detail: detail{"name": name}})
	})
}

// ServiceKeys lists all keys, the revoked ones too, by name and age.
func (m *Module) ServiceKeys(ctx context.Context) (keys []ServiceKey, err error) {
	err = m.db.Select(ctx, &keys, `
		SELECT id, name, hint, created_at, last_used_at, revoked_at FROM auth.service_keys ORDER BY name, created_at`)
	return keys, err
}

// RevokeServiceKey ends a key; every instance refuses it within a second.
func (m *Module) RevokeServiceKey(ctx context.Context, name string) error {
	return m.db.InTx(ctx, func(ctx context.Context) error {
		n, err := m.db.Exec(ctx, `UPDATE auth.service_keys SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL`, name)
		if err == nil && n == 0 {
			err = fmt.Errorf("there is no service key %q in use; `service-key list` shows all", name)
		}
		if err != nil {
			return err
		}
		return m.record(ctx, entry{action: "service_key_revoked", detail: detail{"name": name}})
	})
}

// judge is the identity.Authority's word on keys.
func (k *serviceKeys) judge(ctx context.Context, key string) (identity.Principal, error) {
	asked := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.loaded) > keysTrusted {
		if k.failed.After(asked) { // somebody tried for all who waited
			return identity.Principal{}, k.failure
		}
		if err := k.load(ctx); err != nil {
			k.failed, k.failure = time.Now(), err
			return identity.Principal{}, err
		}
	}
	found, known := k.keys[sha256.Sum256([]byte(key))]
	if !known {
		return identity.Principal{}, identity.ErrServiceKeyInvalid
	}
	k.used[found.id] = time.Now()
	return identity.Principal{Service: found.name}, nil
}

func (k *serviceKeys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout) // not only for this caller
	defer cancel()
	asked := time.Now()
	var rows []struct {
		ID   string `db:"id"`
		Hash []byte `db:"hash"`
		Name string `db:"name"`
	}
	if err := k.db.Spare().Select(ctx, &rows, `SELECT id, hash, name FROM auth.service_keys WHERE revoked_at IS NULL`); err != nil {
		return err
	}
	keys := make(map[[sha256.Size]byte]usedKey, len(rows))
	for _, row := range rows {
		keys[[sha256.Size]byte(row.Hash)] = usedKey{row.ID, row.Name}
	}
	k.keys, k.loaded = keys, asked
	return nil
}

// run writes the times of last use until ctx ends.
func (k *serviceKeys) run(ctx context.Context) error {
	tick := time.NewTicker(keyUsedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = k.noteUse(context.WithoutCancel(ctx)) // a time is no reason to fail a shutdown
			return nil
		case <-tick.C:
			_ = k.noteUse(ctx) // kept, and tried again
		}
	}
}

// noteUse holds up nobody who is to be judged.
func (k *serviceKeys) noteUse(ctx context.Context) error {
	used := k.takeUsed()
	if len(used) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	ids, times := make([]string, 0, len(used)), make([]time.Time, 0, len(used))
	for id, at := range used {
		ids, times = append(ids, id), append(times, at)
	}
	_, err := k.db.Exec(ctx, `
		UPDATE auth.service_keys k SET last_used_at = u.at
		FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)
		WHERE k.id = u.id AND coalesce(k.last_used_at < u.at, true)`,
		postgres.Array(ids), postgres.Array(times))
	if err != nil {
		k.putBack(used)
	}
	return err
}

func (k *serviceKeys) takeUsed() map[string]time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	used := k.used
	k.used = map[string]time.Time{}
	return used
}

func (k *serviceKeys) putBack(used map[string]time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, at := range used {
		if k.used[id].Before(at) {
			k.used[id] = at
		}
	}
}
