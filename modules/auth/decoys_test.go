package auth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/messaging/commands"
	"user-service/migrations"
	"user-service/platform/servertest"
)

const legacyPrefix = "pbkdf2_sha256$600000"

// decoysOf looks at accounts of which one third has a hash of Django.
func decoysOf(t *testing.T) *decoys {
	t.Helper()
	db := servertest.OpenDatabase(t, migrations.Files)
	d := &decoys{db: db, secret: sharedSecret, cost: DefaultCost}
	require.Equal(t, decoy(DefaultCost), d.standIn("", "nobody@example.com"), "before the first look")
	accounts := []NewAccount{accountOf("unusable@example.com", "!unusable")}
	for i := range 90 {
		hash := decoy(DefaultCost)
		if i%3 == 0 {
			hash = legacyPrefix + fittings["pbkdf2_sha256"]
		}
		accounts = append(accounts, accountOf(fmt.Sprintf("user%d@example.com", i), hash))
	}
	added, err := store{db}.addAll(t.Context(), accounts)
	require.NoError(t, err)
	require.Len(t, added, len(accounts))
	require.NoError(t, d.look(t.Context()))
	return d
}

func accountOf(email, hash string) NewAccount {
	return NewAccount{Hash: hash, User: commands.User{ID: uuid.NewString(), Email: email, IsActive: true}}
}

func TestUnknownAddressesHaveHashesOfTheKindsThatAccountsHave(t *testing.T) {
	t.Parallel()
	d := decoysOf(t)
	django := 0
	for i := range 3000 {
		email := fmt.Sprintf("nobody%d@example.com", i)
		got := d.standIn("", email)
		require.Equal(t, got, d.standIn("", strings.ToUpper(email)), "an address keeps its kind")
		require.Equal(t, got, d.standIn("!unusable", email))
		if strings.HasPrefix(got, legacyPrefix+"$") {
			django++
		} else {
			require.Equal(t, decoy(DefaultCost), got)
		}
	}
	require.InDelta(t, 1000, django, 150)
	require.Equal(t, djangoHashes[0].hash, d.standIn(djangoHashes[0].hash, "a@example.com"), "who has a hash is compared with it")

	another := &decoys{db: d.db, secret: sharedSecret, cost: DefaultCost}
	require.NoError(t, another.look(t.Context()))
	require.Equal(t, d.standIn("", "x@example.com"), another.standIn("", "x@example.com"), "on every instance")
}

func TestEveryKindHasAFittingThatMakesAHash(t *testing.T) {
	t.Parallel()
	for prefix, algorithm := range map[string]string{
		"$argon2id$v=19$m=19456,t=2,p=1": "", "argon2$argon2id$v=19$m=102400,t=2,p=8": "argon2", legacyPrefix: "pbkdf2_sha256",
		"bcrypt$$2b$12": "bcrypt", "bcrypt_sha256$$2b$12": "bcrypt_sha256",
	} {
		require.NotNil(t, readHash(prefix+fittings[algorithm]), prefix)
	}
}

// TestUpgradeKeepsAPasswordThatWasChangedMeanwhile replaces only the hash that was verified.
func TestUpgradeKeepsAPasswordThatWasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	s := store{servertest.OpenDatabase(t, migrations.Files)}
	ada := accountOf("ada@example.com", "changed")
	_, err := s.addAll(t.Context(), []NewAccount{ada})
	require.NoError(t, err)
	replaced, err := s.upgradePassword(t.Context(), ada.ID, "verified", "upgraded")
	require.NoError(t, err)
	require.False(t, replaced)
	a, err := s.byEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.Equal(t, "changed", a.Password)
	replaced, err = s.upgradePassword(t.Context(), ada.ID, "changed", "upgraded")
	require.NoError(t, err)
	require.True(t, replaced)
	a, err = s.byEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.Equal(t, "upgraded", a.Password)
}
