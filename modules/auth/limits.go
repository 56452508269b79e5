package auth

import (
	"context"
	"strings"
	"time"

	"user-service/platform/identity"
	"user-service/platform/ratelimit"
)

// perAddress is how often a client address may ask for each kind of thing. One address may be a
// whole office.
var perAddress = struct{ login, register, refresh, mail, token, change ratelimit.Limit }{
	login:    perMinute("login", 30, 30),
	register: perMinute("register", 10, 60),
	refresh:  perMinute("refresh", 60, 60),
	mail:     perMinute("mail", 5, 10), // asking for a mailed token
	token:    perMinute("token", 20, 20),
	change:   perMinute("change", 10, 20),
}

// guesses is how often the password of an account may be wrong: a guesser has 2,900 a day, an owner
// who mistypes waits half a minute at the most. Of what all strangers share, one network may use up
// a half.
var (
	guesses         = perMinute("guesses", 2, 10)
	guessesFromHere = perMinute("guesses from here", 1, 5)
)

// knownFor is how long an address is known from which somebody signed in.
const (
	known    = "known"
	knownFor = 30 * 24 * time.Hour
)

func perMinute(name string, rate, burst int) ratelimit.Limit {
	return ratelimit.Limit{Name: name, Rate: rate, Per: time.Minute, Burst: burst}
}

// guess reports whether the password is that of the account, which is active. Each wrong one counts
// against the account. It is counted before it is compared, and given back when it was right: any
// number at once are no more guesses.
//
// An address from which the account was signed in to before has a limit of its own. All others share
// one, which strangers on many networks can keep used up, but never against an owner who comes from
// where they came from before, or who resets the password.
func (m *Module) guess(ctx context.Context, a account, email, password string) (right bool, err error) {
	key := a.ID
	if key == "" { // slowed like any other
		key = "unknown " + strings.ToLower(email)
	}
	here := fromHere(ctx, key)
	stranger := !m.limiter.Remembers(ctx, known, here)
	if stranger {
		if err := m.limiter.Take(ctx, guessesFromHere, here).Err(); err != nil {
			return false, err
		}
	} else {
		key = here
	}
	if err := m.limiter.Take(ctx, guesses, key).Err(); err != nil {
		return false, err
	}
	match, err := m.passwords.matches(ctx, bounded(password), m.decoys.standIn(a.Password, email))
	right = match && a.IsActive // the right password of an inactive account must not show
	if right || err != nil {
		m.limiter.GiveBack(ctx, guesses, key)
		if stranger {
			m.limiter.GiveBack(ctx, guessesFromHere, here)
		}
	}
	return right, err
}

// knowAddress remembers that whoever has the account comes from where ctx does.
func (m *Module) knowAddress(ctx context.Context, accountID string) {
	m.limiter.Remember(ctx, known, fromHere(ctx, accountID), knownFor)
}

// forgiveGuesses has the owner begin anew, after a reset.
func (m *Module) forgiveGuesses(ctx context.Context, accountID string) {
	m.limiter.Lift(ctx, guesses, accountID)
	m.limiter.Lift(ctx, guesses, fromHere(ctx, accountID))
	m.limiter.Lift(ctx, guessesFromHere, fromHere(ctx, accountID))
	m.knowAddress(ctx, accountID)
}

func fromHere(ctx context.Context, key string) string {
	return key + " " + identity.ClientFrom(ctx).Network()
}
