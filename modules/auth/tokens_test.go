package auth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
)

// sharedSecret is the SECRET_KEY of these tests.
var sharedSecret = []byte("a secret key of the tests, long enough")

var issuing = newTokens(Settings{SecretKey: sharedSecret, AccessLifetime: time.Hour, RefreshLifetime: 24 * time.Hour})

func validClaims() jwt.MapClaims {
	id := uuid.NewString()
	return jwt.MapClaims{
		"sub": id, "user_id": id, "sid": uuid.NewString(), "jti": uuid.NewString(), "iss": issuer, "token_type": "access",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

// originalClaims are those of Django's SimpleJWT.
func originalClaims(kind string) jwt.MapClaims {
	return jwt.MapClaims{
		"token_type": kind, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"jti": strings.ReplaceAll(uuid.NewString(), "-", ""), "user_id": uuid.NewString(),
	}
}

// with gives the claims with one of them changed; nil leaves it out.
func with(claims jwt.MapClaims, name string, value any) jwt.MapClaims {
	if value == nil {
		delete(claims, name)
	} else {
		claims[name] = value
	}
	return claims
}

func signed(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, header ...any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i].(string)] = header[i+1]
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

// signedRaw signs a header and claims that no encoder would write.
func signedRaw(t *testing.T, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := jwt.SigningMethodHS256.Sign(text, sharedSecret)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestAccessTokenCarriesWhatSiblingsRead(t *testing.T) {
	t.Parallel()
	account, session := uuid.NewString(), uuid.NewString()
	token, err := issuing.issue(account, session, time.Now())
	require.NoError(t, err)
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(body, &claims))
	require.Equal(t, account, claims["sub"])
	require.Equal(t, account, claims["user_id"])
	require.Equal(t, session, claims["sid"])
	require.Equal(t, "access", claims["token_type"])
	require.NotEmpty(t, claims["jti"])
	require.NotEmpty(t, claims["iss"])
	require.InDelta(t, 3600, claims["exp"].(float64)-claims["iat"].(float64), 0)

	parsed, err := issuing.access(token)
	require.NoError(t, err)
	require.Equal(t, account, parsed.UserID)
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	hs256 := func(claims jwt.MapClaims, header ...any) string {
		return signed(t, jwt.SigningMethodHS256, sharedSecret, claims, header...)
	}
	none := func(alg string) string {
		parts := strings.Split(signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, validClaims()), ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","typ":"JWT"}`)) + "." + parts[1] + "."
	}
	good := hs256(validClaims())
	_, err := issuing.access(good)
	require.NoError(t, err)
	head, body, tail := cut(good)
	valid, err := json.Marshal(validClaims())
	require.NoError(t, err)
	attacks := map[string]string{
		"alg none":                none("none"),
		"alg None":                none("None"),
		"alg nOnE":                none("nOnE"),
		"no alg":                  signedRaw(t, `{"typ":"JWT"}`, string(valid)),
		"a number as alg":         signedRaw(t, `{"alg":256}`, string(valid)),
		"another secret":          signed(t, jwt.SigningMethodHS256, []byte("another secret key, just as long as ours"), validClaims()),
		"HS384":                   signed(t, jwt.SigningMethodHS384, sharedSecret, validClaims()),
		"HS512":                   signed(t, jwt.SigningMethodHS512, sharedSecret, validClaims()),
		"a kid nobody has":        hs256(validClaims(), "kid", "../../../../dev/null"),
		"an extension":            hs256(validClaims(), "crit", []string{"exp"}),
		"an unencoded payload":    hs256(validClaims(), "b64", false, "crit", []string{"b64"}),
		"another issuer":          hs256(with(validClaims(), "iss", "somebody-else")),
		"a list of issuers":       hs256(with(validClaims(), "iss", []string{issuer})),
		"no issuer":               hs256(with(validClaims(), "iss", nil)),
		"an audience":             hs256(with(validClaims(), "aud", "billing")),
		"a refresh token":         hs256(with(validClaims(), "token_type", "refresh")),
		"no type":                 hs256(with(validClaims(), "token_type", nil)),
		"no expiry":               hs256(with(validClaims(), "exp", nil)),
		"expiry as text":          hs256(with(validClaims(), "exp", "tomorrow")),
		"no issue time":           hs256(with(validClaims(), "iat", nil)),
		"issued in the future":    hs256(with(validClaims(), "iat", time.Now().Add(clockLeeway+5*time.Second).Unix())),
		"not valid yet":           hs256(with(validClaims(), "nbf", time.Now().Add(clockLeeway+5*time.Second).Unix())),
		"another user's id":       hs256(with(validClaims(), "user_id", uuid.NewString())),
		"no user id":              hs256(with(validClaims(), "user_id", nil)),
		"no subject":              hs256(with(validClaims(), "sub", nil)),
		"no session":              hs256(with(validClaims(), "sid", nil)),
		"SQL as session":          hs256(with(validClaims(), "sid", "' OR 1=1 --")),
		"a number as subject":     hs256(with(validClaims(), "sub", 7)),
		"a UUID in another form":  hs256(with(validClaims(), "sid", "{"+uuid.NewString()+"}")),
		"claims that are no map":  signedRaw(t, `{"alg":"HS256"}`, `["access"]`),
		"claims that are null":    signedRaw(t, `{"alg":"HS256"}`, `null`),
		"a doubled type":          signedRaw(t, `{"alg":"HS256"}`, strings.TrimSuffix(string(valid), "}")+`,"token_type":"refresh"}`),
		"a changed header":        base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + body + "." + tail,
		"changed claims":          head + "." + base64.RawURLEncoding.EncodeToString(valid) + "." + tail,
		"a changed signature":     head + "." + body + "." + flipped(tail),
		"loose bits":              head + "." + body + "." + loosened(tail),
		"a shortened signature":   head + "." + body + "." + tail[:len(tail)-4],
		"no signature":            head + "." + body + ".",
		"an empty header":         "." + body + "." + tail,
		"empty claims":            head + ".." + tail,
		"two parts":               head + "." + body,
		"a JWE of five parts":     head + "." + body + "." + tail + "." + tail + "." + tail,
		"space in front":          " " + good,
		"space behind":            good + " ",
		"a line end inside":       good[:len(good)-3] + "\n" + good[len(good)-3:],
		"padding":                 good + "=",
		"nothing":                 "",
		"dots":                    "..",
		"noise":                   strings.Repeat("a.b.c", 10_000),
		"the original's, refresh": hs256(originalClaims("refresh")),
	}
	for name, token := range attacks {
		_, err := issuing.access(token)
		require.ErrorIs(t, err, identity.ErrTokenInvalid, name)
	}
	for _, header := range []string{"jwk", "jku", "x5u", "x5c"} {
		_, err := issuing.access(signed(t, jwt.SigningMethodHS256, []byte("the attacker's"), validClaims(), header, map[string]any{"kty": "oct", "k": "dGhlIGF0dGFja2VyJ3M"}))
		require.ErrorIs(t, err, identity.ErrTokenInvalid, "a key that comes with the token")
		_, err = issuing.access(hs256(validClaims(), header, "https://attacker.example"))
		require.NoError(t, err, "%s is not looked at", header)
	}
}

// TestHugeTokenIsNotEvenParsed signs it well: only its size is wrong.
func TestHugeTokenIsNotEvenParsed(t *testing.T) {
	t.Parallel()
	_, err := issuing.access(signed(t, jwt.SigningMethodHS256, sharedSecret, with(validClaims(), "note", strings.Repeat("x", 5000))))
	require.NoError(t, err)
	_, err = issuing.access(signed(t, jwt.SigningMethodHS256, sharedSecret, with(validClaims(), "note", strings.Repeat("x", 8000))))
	require.ErrorIs(t, err, identity.ErrTokenInvalid)
}

func cut(token string) (header, claims, signature string) {
	parts := strings.Split(token, ".")
	return parts[0], parts[1], parts[2]
}

// flipped changes the first character: the last one's low bits are of no byte.
func flipped(text string) string {
	if text[0] == 'A' {
		return "B" + text[1:]
	}
	return "A" + text[1:]
}

// loosened sets the low bits of the last character, which are of no byte.
func loosened(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last|1])
}

func TestTimesHaveALeewayForClocks(t *testing.T) {
	t.Parallel()
	at := func(claim string, from time.Duration) error {
		_, err := issuing.access(signed(t, jwt.SigningMethodHS256, sharedSecret, with(validClaims(), claim, time.Now().Add(from).Unix())))
		return err
	}
	require.NoError(t, at("exp", -clockLeeway+5*time.Second))
	require.ErrorIs(t, at("exp", -clockLeeway-5*time.Second), identity.ErrTokenExpired)
	require.NoError(t, at("iat", clockLeeway-5*time.Second))
	require.NoError(t, at("nbf", clockLeeway-5*time.Second))
}

// TestTokensAreJudgedByTheDatabasesClock, however wrong this machine's is.
func TestTokensAreJudgedByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	judging := newTokens(Settings{SecretKey: sharedSecret, AccessLifetime: time.Hour, RefreshLifetime: time.Hour})
	for _, wrongBy := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
		shown := time.Now().Add(wrongBy)
		judging.clock.set(shown, time.Now())
		require.WithinDuration(t, shown, judging.clock.now(), time.Second)
		for age, want := range map[time.Duration]error{
			0: nil, 59 * time.Minute: nil, 61 * time.Minute: identity.ErrTokenExpired, -time.Minute: identity.ErrTokenInvalid,
		} {
			token, err := judging.issue(uuid.NewString(), uuid.NewString(), shown.Add(-age))
			require.NoError(t, err)
			for range 2 { // the second time it is known
				_, err = judging.access(token)
				require.ErrorIs(t, err, want, "wrong by %s, %s old", wrongBy, age)
			}
			_, err = judging.originalRefresh(signed(t, jwt.SigningMethodHS256, sharedSecret,
				with(with(originalClaims("refresh"), "iat", shown.Add(-age).Unix()), "exp", shown.Add(24*time.Hour).Unix())))
			require.ErrorIs(t, err, want, "wrong by %s, %s old", wrongBy, age)
		}
	}
}

func TestAccessTokenIsAsOldAsItsSessionIsByTheDatabase(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-90 * time.Second).Truncate(time.Second)
	pair, err := (&Module{tokens: issuing}).tokensFor(uuid.NewString(), opened{uuid.NewString(), "", at})
	require.NoError(t, err)
	c, err := issuing.access(pair.AccessToken)
	require.NoError(t, err)
	require.True(t, c.IssuedAt.Equal(at))
	require.True(t, c.ExpiresAt.Equal(at.Add(issuing.lifetime)))
}

func TestOriginalServicesTokensAreAcceptedForADay(t *testing.T) {
	t.Parallel()
	hs256 := func(claims jwt.MapClaims) string { return signed(t, jwt.SigningMethodHS256, sharedSecret, claims) }
	claims := originalClaims("access")
	c, err := issuing.access(hs256(claims))
	require.NoError(t, err)
	require.Equal(t, claims["user_id"], c.UserID)
	require.Empty(t, c.SessionID)
	_, err = issuing.originalRefresh(hs256(originalClaims("refresh")))
	require.NoError(t, err)

	old := time.Now().Add(-25 * time.Hour).Unix() // revocations are not kept for it any more
	_, err = issuing.access(hs256(with(originalClaims("access"), "iat", old)))
	require.ErrorIs(t, err, identity.ErrTokenExpired)
	_, err = issuing.originalRefresh(hs256(with(originalClaims("refresh"), "iat", old)))
	require.ErrorIs(t, err, identity.ErrTokenExpired)

	for name, claims := range map[string]jwt.MapClaims{
		"a number as user id": with(originalClaims("access"), "user_id", 7),
		"no user id":          with(originalClaims("access"), "user_id", nil),
		"a sibling's":         with(originalClaims("access"), "iss", "billing"),
		"a session":           with(originalClaims("access"), "sid", uuid.NewString()),
		"another subject":     with(originalClaims("access"), "sub", uuid.NewString()),
		"no issue time":       with(originalClaims("access"), "iat", nil),
		"sliding":             originalClaims("sliding"),
		"refresh":             originalClaims("refresh"),
	} {
		_, err := issuing.access(hs256(claims))
		require.ErrorIs(t, err, identity.ErrTokenInvalid, name)
	}
	for name, claims := range map[string]jwt.MapClaims{
		"access":      originalClaims("access"),
		"one of ours": with(validClaims(), "token_type", "refresh"),
		"a sibling's": with(originalClaims("refresh"), "iss", "billing"),
	} {
		_, err := issuing.originalRefresh(hs256(claims))
		require.ErrorIs(t, err, identity.ErrTokenInvalid, name)
	}
}

// FuzzAccessToken changes good tokens in every way: what is still accepted says what was issued.
func FuzzAccessToken(f *testing.F) {
	account, session := uuid.NewString(), uuid.NewString()
	f.Add(0, "", 0)
	f.Add(20, "eyJhbGciOiJub25lIn0", 0)
	f.Add(40, "A", 1)
	f.Add(-1, "==", 0)
	good, err := issuing.issue(account, session, time.Now())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, at int, insert string, remove int) {
		at = ((at % (len(good) + 1)) + len(good) + 1) % (len(good) + 1)
		remove = min(max(remove, 0), len(good)-at)
		for _, token := range []string{good[:at] + insert + good[at+remove:], insert} {
			if c, err := issuing.access(token); err == nil {
				require.Equal(t, good, token, "a token nobody issued")
				require.Equal(t, [2]string{account, session}, [2]string{c.UserID, c.SessionID})
			}
		}
	})
}

// TestTokenOutlivesNoLifetimeThatWasMadeShorter, since revocations are kept for the one in force.
func TestTokenOutlivesNoLifetimeThatWasMadeShorter(t *testing.T) {
	t.Parallel()
	long := newTokens(Settings{SecretKey: sharedSecret, AccessLifetime: 24 * time.Hour})
	token, err := long.issue(uuid.NewString(), uuid.NewString(), time.Now().Add(-2*time.Hour))
	require.NoError(t, err)
	_, err = long.access(token)
	require.NoError(t, err)
	_, err = newTokens(Settings{SecretKey: sharedSecret, AccessLifetime: time.Hour}).access(token)
	require.ErrorIs(t, err, identity.ErrTokenExpired)
}
