package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"user-service/platform/postgres"
)

// decoysEvery is how often it is looked how many accounts have a hash of which kind.
const decoysEvery = time.Minute

// decoys are what the password of an unknown address is compared with. Django's hashes take other
// times than ours, so a time would tell who has one: each unknown address therefore has a kind of
// its own, always the same one, and each kind as often as it is found among the accounts.
type decoys struct {
	db     *postgres.DB
	secret []byte
	cost   Cost // of our own hashes
	kinds  atomic.Pointer[[]kindOfHash]
}

// kindOfHash is the beginning of a hash that says how it is computed.
type kindOfHash struct {
	Prefix   string  `db:"prefix"`
	Accounts float64 `db:"accounts"`
}

// fittings complete a prefix. Salts and keys are made up: these are hashes of nothing.
var fittings = map[string]string{
	"":              "$bm9ib2R5J3Mgc2FsdCEhIQ$bm9ib2R5J3Mga2V5LCB3aGljaCBmaXRzIG5vdGhpbmc",
	"argon2":        "$bm9ib2R5J3Mgc2FsdCEhIQ$bm9ib2R5J3Mga2V5LCB3aGljaCBmaXRzIG5vdGhpbmc",
	"pbkdf2_sha256": "$nobodysSaltNobodysSal$bm9ib2R5J3Mga2V5LCB3aGljaCBmaXRzIG5vdGhpbmc=",
	"bcrypt":        "$nobodysSaltNobodysSaltuNobodysKeyWhichFitsNothingAtAl",
	"bcrypt_sha256": "$nobodysSaltNobodysSaltuNobodysKeyWhichFitsNothingAtAl",
}

// decoy is a hash at this cost.
func decoy(cost Cost) string {
	return prefixOf(cost) + fittings[""]
}

// standIn gives hash, or the address's decoy when there is no hash or no password can match it.
func (d *decoys) standIn(hash, email string) string {
	if readHash(hash) != nil {
		return hash
	}
	best, chosen := -1.0, decoy(d.cost)
	if kinds := d.kinds.Load(); kinds != nil {
		for _, kind := range *kinds {
			if score := kind.Accounts * d.lot(email, kind.Prefix); score > best {
				algorithm, _, _ := strings.Cut(kind.Prefix, "$")
				best, chosen = score, kind.Prefix+fittings[algorithm]
			}
		}
	}
	return chosen
}

// lot is what an address draws for a kind. By weighted rendezvous, only the addresses move that the
// change of a share moves.
func (d *decoys) lot(email, prefix string) float64 {
	mac := hmac.New(sha256.New, d.secret)
	mac.Write([]byte("decoy\x00" + strings.ToLower(email) + "\x00" + prefix))
	drawn := (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>12) + 0.5) / (1 << 52) // between 0 and 1
	return -1 / math.Log(drawn)
}

// run looks at once and then every minute, until ctx ends.
func (d *decoys) run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(decoysEvery)
	defer tick.Stop()
	for {
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			log.Warn("kinds of password hashes not counted, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look counts a sample of a few thousand accounts, of the same pages each time: every address of
// nobody that changes its kind for no reason gives itself away.
func (d *decoys) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var kinds []kindOfHash
	err := d.db.Select(ctx, &kinds, `
		SELECT prefix, count(*) AS accounts
		FROM auth.accounts TABLESAMPLE SYSTEM ((SELECT least(100, 500000 / greatest(reltuples, 1)) FROM pg_class WHERE oid = 'auth.accounts'::regclass)) REPEATABLE (815),
		     substring(password FROM '^(pbkdf2_sha256\$\d+|bcrypt(?:_sha256)?\$\$2[aby]\$\d\d|(?:argon2)?\$argon2id\$v=19\$[^$]+)\$') AS prefix
		WHERE prefix IS NOT NULL GROUP BY prefix`)
	if err == nil {
		d.kinds.Store(&kinds)
	}
	return err
}
