package auth

import (
	"context"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/servertest"
)

// TestTokensWithoutASessionAreRevokedByTheirAge judges them on the instance that revoked and on one
// that reads it.
func TestTokensWithoutASessionAreRevokedByTheirAge(t *testing.T) {
	t.Parallel()
	db := servertest.OpenDatabase(t, migrations.Files)
	accounts := []NewAccount{accountOf("ada@example.com", "x"), accountOf("grace@example.com", "x")}
	_, err := store{db}.addAll(t.Context(), accounts)
	require.NoError(t, err)
	account, other := accounts[0].ID, accounts[1].ID
	here, elsewhere := newRevocations(db, new(databaseClock)), newRevocations(db, new(databaseClock))
	for range 2 { // the later one counts
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error { return here.addAccounts(ctx, []string{account}, time.Hour) }))
	}
	var revoked time.Time
	require.NoError(t, db.Get(t.Context(), &revoked, `SELECT max(revoked_at) FROM auth.revocations`))
	for _, r := range []*revocations{here, elsewhere} {
		for _, test := range []struct {
			why     string
			account string
			session string
			issued  time.Time
			refused bool
		}{
			{"older", account, "", revoked.Add(-time.Hour), true},
			{"by a clock that is ahead", account, "", revoked.Add(clockLeeway), true},
			{"newer", account, "", revoked.Add(clockLeeway + time.Second), false},
			{"another account's", other, "", revoked.Add(-time.Hour), false},
			{"a session's, which are named one by one", account, uuid.NewString(), revoked.Add(-time.Hour), false},
		} {
			refused, err := r.include(t.Context(), claims{
				RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(test.issued)}, UserID: test.account, SessionID: test.session,
			})
			require.NoError(t, err)
			require.Equal(t, test.refused, refused, test.why)
		}
	}
}
