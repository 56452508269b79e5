package auth

import (
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/argon2"
)

// Hashes made elsewhere: PBKDF2 by Python's hashlib, bcrypt by libxcrypt and from its test vectors,
// Argon2id from the reference implementation's, with Django's names in front.
var djangoHashes = []struct{ hash, password string }{
	{"pbkdf2_sha256$20000$seasalt$Hf4ZrtGt48FiWgNsPSgzUYDFLNDSEu8sWYBvn/Pv76U=", "correct horse battery"},
	{"pbkdf2_sha256$1000$Zm9vYmFyYmF6cXV4MTIzNA$GlZPsOelco6kFfYxpz/4ggVj3LLF3wUvwoqR4JI8+8w=", "пароль-на-кириллице"},
	{"pbkdf2_sha256$1200$sålt$pRNMXy53NC82xubJxktuPqnWYvpotblC/113ly5RZPw=", "🐎🔋📎 Ünïcode"},
	{"pbkdf2_sha256$1000$salt$f8WhT0SsaFPum9l78Mzk+MV+glx9Mye/UGNBvAyhtgs=", "Cafe\u0301 au lait"},
	{"bcrypt$$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"bcrypt$$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"},
	{"bcrypt$$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored"},
	{"bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC.VoCdxEvHl7XYZeg7qDr1jJzmc9plqUS", "пароль-на-кириллице"},
	{"bcrypt_sha256$$2b$05$abcdefghijklmnopqrstuuaQz6CVhbgRiZmnmiNLc9bv5cauhFkti", "lètmein"},
	{"argon2$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
	{"argon2$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"},
}

func TestDjangosHashesMatchTheirPasswordsAndNoOther(t *testing.T) {
	t.Parallel()
	for _, h := range djangoHashes {
		matches := readHash(h.hash)
		require.NotNil(t, matches, h.hash)
		require.True(t, matches(h.password, new(argon2.Memory)), h.hash)
		for _, wrong := range []string{"", h.password[1:], h.password[:1], strings.ToUpper(h.password) + "!", "Caf\u00e9 au lait"} {
			require.False(t, matches(wrong, new(argon2.Memory)), "%s: %q", h.hash, wrong)
		}
		require.True(t, outdated(h.hash, DefaultCost))
	}
}

func TestOnlyHashesWeakerThanOursAreOutdated(t *testing.T) {
	t.Parallel()
	ours, err := newPasswords(DefaultCost, nil, slog.New(slog.DiscardHandler)).hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	require.False(t, outdated(ours, DefaultCost))
	for change, weaker := range map[string]bool{
		"m=19456,t=2,p=1": false, "m=65536,t=2,p=1": false, "m=19456,t=3,p=2": false, "m=19455,t=2,p=1": true, "m=65536,t=1,p=1": true,
	} {
		require.Equal(t, weaker, outdated(strings.Replace(ours, "m=19456,t=2,p=1", change, 1), DefaultCost), change)
	}
	require.True(t, outdated("argon2"+ours, DefaultCost), "what has Django's form gets ours")
	shortSalt := strings.Replace(djangoHashes[9].hash, "m=256", "m=65536", 1)
	require.True(t, outdated(strings.TrimPrefix(shortSalt, "argon2"), DefaultCost), "a short salt")
}

// TestHashesThatCostTooMuchOrAreNoneMatchNothing: nothing is computed for them.
func TestHashesThatCostTooMuchOrAreNoneMatchNothing(t *testing.T) {
	t.Parallel()
	const (
		key    = "$5q6zv2yMVp524Dm+hdzXL4MRK7tsR28QdW8vM5+uOvA="
		blow   = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
		argon2 = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	)
	for _, hash := range []string{
		"", "!", "!" + strings.Repeat("x", 40), "$", "plain text", "md5$salt$hash", "pbkdf2_sha1$1000$salt$x", "unsalted_md5$$x",
		"pbkdf2_sha256$5000001$salt" + key, "pbkdf2_sha256$99999999999999999999$salt" + key, "pbkdf2_sha256$0$salt" + key, "pbkdf2_sha256$-1$salt" + key,
		"pbkdf2_sha256$+1$salt" + key, "pbkdf2_sha256$1000$" + key, "pbkdf2_sha256$1000$salt$", "pbkdf2_sha256$1000$salt" + key + "$more", "pbkdf2_sha256$1000$salt$AAAA",
		"pbkdf2_sha256$1000$" + strings.Repeat("s", 129) + key, "pbkdf2_sha256$1000$salt" + key + "\n",
		"bcrypt$$2b$16$" + blow, "bcrypt$$2b$31$" + blow, "bcrypt$$2b$03$" + blow, "bcrypt$$2x$05$" + blow, "bcrypt$2b$05$" + blow, "bcrypt$$2b$05$" + blow[1:],
		"bcrypt_sha256$$2b$16$" + blow, "$2b$05$" + blow,
		"argon2$argon2id$v=19$m=7,t=1,p=1" + argon2, "argon2$argon2id$v=19$m=127,t=1,p=16" + argon2, "argon2$argon2id$v=19$m=262145,t=2,p=1" + argon2, "argon2$argon2id$v=19$m=4294967295,t=2,p=1" + argon2, "argon2$argon2id$v=19$m=256,t=17,p=1" + argon2,
		"argon2$argon2id$v=19$m=256,t=2,p=17" + argon2, "argon2$argon2id$v=19$m=256,t=0,p=1" + argon2, "argon2$argon2id$v=19$m=256,t=1,p=0" + argon2,
		"argon2$argon2id$v=16$m=256,t=1,p=1" + argon2, "argon2$argon2d$v=19$m=256,t=1,p=1" + argon2, "argon2id$v=19$m=256,t=1,p=1" + argon2,
		"$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=256,t=1,p=1$$" + argon2[1:], "$argon2id$v=19$m=256,t=1,p=1" + argon2 + "$x",
	} {
		require.Nil(t, readHash(hash), hash)
		require.True(t, outdated(hash, DefaultCost), hash)
	}
}

// FuzzDjangoHash looks for a panic, and for a cost above its bound that is read from the text in
// another way than readHash does.
func FuzzDjangoHash(f *testing.F) {
	for _, h := range djangoHashes {
		f.Add(h.hash)
	}
	f.Add("!")
	costs := regexp.MustCompile(`(?:sha256\$|\$2[aby]\$|m=|t=|p=)(\d+)`)
	bounds := map[string]int{"sha256$": maxIterations, "$2a$": maxBcrypt, "$2b$": maxBcrypt, "$2y$": maxBcrypt, "m=": maxMemory, "t=": maxPasses, "p=": maxLanes}
	f.Fuzz(func(t *testing.T, hash string) {
		matches := readHash(hash)
		if matches == nil {
			return
		}
		head := hash[:min(len(hash), len("argon2$argon2id$v=19$m=1234567,t=12,p=12"))]
		work := 1
		for _, found := range costs.FindAllStringSubmatch(head, -1) {
			spent, err := strconv.Atoi(found[1])
			require.NoError(t, err)
			name := strings.TrimSuffix(found[0], found[1])
			require.LessOrEqual(t, spent, bounds[name], hash)
			if strings.HasPrefix(name, "$2") {
				spent = 1 << spent
			}
			work *= spent
		}
		if work < 10_000 {
			require.False(t, matches("not the password of any", new(argon2.Memory)), hash)
		}
	})
}
