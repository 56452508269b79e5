package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/identity"
)

// One key of each kind, made once: RSA takes its time.
var (
	_, edKey, _ = ed25519.GenerateKey(rand.Reader)
	ecKey, _    = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, _   = rsa.GenerateKey(rand.Reader, minRSA)
)

func pkcs8(t testing.TB, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func signingKeys(t testing.TB, privates ...any) (keys []SigningKey) {
	t.Helper()
	for _, private := range privates {
		parsed, err := ParseSigningKeys(pkcs8(t, private))
		require.NoError(t, err)
		keys = append(keys, parsed...)
	}
	return keys
}

func tokensBy(keys ...SigningKey) tokens {
	return newTokens(Settings{SecretKey: sharedSecret, SigningKeys: keys, AccessLifetime: time.Hour, RefreshLifetime: time.Hour})
}

func TestEveryFormOfPrivateKeyIsRead(t *testing.T) {
	t.Parallel()
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	require.NoError(t, err)
	file := slices.Concat(
		[]byte("A comment.\n"), pkcs8(t, edKey),
		pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte("\x06\x08*\x86H\xce=\x03\x01\x07")}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
	)
	keys, err := ParseSigningKeys(file)
	require.NoError(t, err)
	require.Equal(t, signingKeys(t, edKey, ecKey, rsaKey), keys)
	require.Equal(t, "EdDSA ES256 RS256", keys[0].method.Alg()+" "+keys[1].method.Alg()+" "+keys[2].method.Alg())
}

func TestKeysThatMustNotSignAreRefused(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	exchange, err := ecKey.ECDH()
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"holds no private key":    []byte("not PEM"),
		"curve P-384":             pkcs8(t, p384),
		`block "PUBLIC KEY"`:      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
		`"ENCRYPTED PRIVATE KEY"`: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}),
		"cannot be read":          pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("secret")}),
		"RSA key of 1024 bits":    []byte(weakRSA),
		"":                        slices.Concat(pkcs8(t, edKey), pkcs8(t, p384)),
	} {
		_, err := ParseSigningKeys(content)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err = newSigningKey(exchange)
	require.Error(t, err)
}

// TestThumbprintIsThatOfRFC8037 uses the example of its appendix A.
func TestThumbprintIsThatOfRFC8037(t *testing.T) {
	t.Parallel()
	seed, err := tokenText.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	require.NoError(t, err)
	key := signingKeys(t, ed25519.NewKeyFromSeed(seed))[0]
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", key.id)
	require.JSONEq(t, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		"use":"sig","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}]}`, string(Settings{SigningKeys: []SigningKey{key}}.keySet()))
	require.JSONEq(t, `{"keys":[]}`, string(Settings{}.keySet()), "a shared secret is shared with nobody else")
}

// TestSiblingsVerifyByThePublishedKeys reads the keys as a foreign library would.
func TestSiblingsVerifyByThePublishedKeys(t *testing.T) {
	t.Parallel()
	keys := signingKeys(t, edKey, ecKey, rsaKey)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(Settings{SigningKeys: keys}.keySet(), &set))
	require.Len(t, set.Keys, 3)
	number := func(text string) *big.Int {
		b, err := tokenText.DecodeString(text)
		require.NoError(t, err)
		return new(big.Int).SetBytes(b)
	}
	for i, key := range keys {
		token, err := tokensBy(key).issue(uuid.NewString(), uuid.NewString(), time.Now())
		require.NoError(t, err)
		_, err = jwt.Parse(token, func(token *jwt.Token) (any, error) {
			published := set.Keys[i]
			require.Equal(t, published["kid"], token.Header["kid"])
			require.Equal(t, published["alg"], token.Header["alg"])
			require.NotContains(t, published, "d")
			switch published["kty"] {
			case "OKP":
				return ed25519.PublicKey(number(published["x"]).FillBytes(make([]byte, 32))), nil
			case "EC":
				point := append([]byte{4}, number(published["x"]).FillBytes(make([]byte, 32))...) // uncompressed
				return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, number(published["y"]).FillBytes(make([]byte, 32))...))
			}
			return &rsa.PublicKey{N: number(published["n"]), E: int(number(published["e"]).Int64())}, nil
		})
		require.NoError(t, err)
	}
}

func TestOldKeysVerifyUntilTheyAreRetired(t *testing.T) {
	t.Parallel()
	keys := signingKeys(t, edKey, ecKey, rsaKey)
	before := tokensBy(keys[2])
	token, err := before.issue(uuid.NewString(), uuid.NewString(), time.Now())
	require.NoError(t, err)
	_, err = tokensBy(keys[0], keys[1], keys[2]).access(token)
	require.NoError(t, err, "it goes on under a newer key of another kind")
	_, err = tokensBy(keys[0], keys[1]).access(token)
	require.ErrorIs(t, err, identity.ErrTokenInvalid, "its key is gone")
	_, err = issuing.access(token)
	require.ErrorIs(t, err, identity.ErrTokenInvalid)
}

func TestNoKeyServesAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	keys := signingKeys(t, edKey, ecKey, rsaKey)
	ours := tokensBy(keys...)
	attacks := map[string]string{
		"HS256 with the secret":       signed(t, jwt.SigningMethodHS256, sharedSecret, validClaims()),
		"the original's":              signed(t, jwt.SigningMethodHS256, sharedSecret, originalClaims("access")),
		"no kid":                      signed(t, jwt.SigningMethodEdDSA, edKey, validClaims()),
		"a number as kid":             signed(t, jwt.SigningMethodEdDSA, edKey, validClaims(), "kid", 0),
		"another key's kid":           signed(t, jwt.SigningMethodEdDSA, edKey, validClaims(), "kid", keys[1].id),
		"RS512 by the RSA key":        signed(t, jwt.SigningMethodRS512, rsaKey, validClaims(), "kid", keys[2].id),
		"PS256 by the RSA key":        signed(t, jwt.SigningMethodPS256, rsaKey, validClaims(), "kid", keys[2].id),
		"a path as kid":               signed(t, jwt.SigningMethodEdDSA, edKey, validClaims(), "kid", "../../../../dev/null"),
		"SQL as kid":                  signed(t, jwt.SigningMethodEdDSA, edKey, validClaims(), "kid", "' UNION SELECT 'x' --"),
		"an attacker's key, our kid":  signed(t, jwt.SigningMethodES256, stranger(t), validClaims(), "kid", keys[1].id),
		"ES256, a signature of zeros": zeroSignature(signed(t, jwt.SigningMethodES256, ecKey, validClaims(), "kid", keys[1].id)),
	}
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.public)
		require.NoError(t, err)
		published, err := json.Marshal(key.jwk)
		require.NoError(t, err)
		for form, secret := range map[string][]byte{
			"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "JWK": published, "kid": []byte(key.id),
			"raw": []byte(key.jwk.X + key.jwk.Modulus),
		} {
			attacks["HS256 with a public key as "+form+" "+key.jwk.Type] = signed(t, jwt.SigningMethodHS256, secret, validClaims(), "kid", key.id)
		}
	}
	for name, token := range attacks {
		_, err := ours.access(token)
		require.ErrorIs(t, err, identity.ErrTokenInvalid, name)
		_, err = issuing.access(token)
		if name != "HS256 with the secret" && name != "the original's" {
			require.ErrorIs(t, err, identity.ErrTokenInvalid, "with a shared secret: "+name)
		}
	}
	_, err := ours.originalRefresh(signed(t, jwt.SigningMethodHS256, sharedSecret, originalClaims("refresh")))
	require.ErrorIs(t, err, identity.ErrTokenInvalid)
	_, err = ours.access(signed(t, jwt.SigningMethodEdDSA, edKey, originalClaims("access"), "kid", keys[0].id))
	require.ErrorIs(t, err, identity.ErrTokenInvalid, "the original signs with the secret")
}

// TestSecondFormOfAnES256SignatureSaysTheSame: with r and s, r and −s is a signature too. It makes
// another text of the same token, by which nothing is told apart.
func TestSecondFormOfAnES256SignatureSaysTheSame(t *testing.T) {
	t.Parallel()
	ours := tokensBy(signingKeys(t, ecKey)...)
	token, err := ours.issue(uuid.NewString(), uuid.NewString(), time.Now())
	require.NoError(t, err)
	header, body, signature := cut(token)
	raw, err := tokenText.DecodeString(signature)
	require.NoError(t, err)
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
	want, err := ours.access(token)
	require.NoError(t, err)
	got, err := ours.access(header + "." + body + "." + tokenText.EncodeToString(append(raw[:32], s.FillBytes(make([]byte, 32))...)))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func stranger(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func zeroSignature(token string) string {
	header, body, _ := cut(token)
	return header + "." + body + "." + strings.Repeat("A", 86)
}

func BenchmarkVerify(b *testing.B) {
	for name, ours := range map[string]tokens{
		"HS256": issuing, "EdDSA": tokensBy(signingKeys(b, edKey)...), "ES256": tokensBy(signingKeys(b, ecKey)...), "RS256": tokensBy(signingKeys(b, rsaKey)...),
	} {
		b.Run(name, func(b *testing.B) {
			token, err := ours.issue(uuid.NewString(), uuid.NewString(), time.Now())
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ours.access(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// weakRSA was made by openssl: Go refuses to make one.
const weakRSA = `-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAOswdwj/87BSKATL
FfTQ6jlTi5Jg8n7a38UVDrBVFAt4CjTRucw5D65WmjYYMOCkFddb93rl71KUL9PJ
Cg+sFAOo2jVNOHEdhTMumiB1gWGf5XLf2iOVTC944sjWCdWmZMq5/6RcIOJKA/m1
oiGvPqdoU5DKD2zMVoFQlVC3br0tAgMBAAECgYAodVvk1nMLX/a2bGFIji/c0Lxv
3/GXVPutoaO3PcuG9Y177KAzu5Uw/oDk0WCHJHMFazK1l5yF7iwUGL98VrPSYOit
kwnPkQD/upGwXib8dWyR5yB+x1p/BZFFruZ49UfIGDTl33cYw+hSFOZ/mR0jHShl
DrRrdkKSandyF+qjQQJBAPl2TnHG3GHEYD0KwozoSNM8NDVl3MWCYYEs2oA70KKY
x6ve6+mBKe6OgKjlBYKP0R+xqXSDZ18JL5bAXkAz9MkCQQDxWmY0g9LjEbCqaL5T
m87PdBR7n4NaLpH5VsKBq98N3LFyMr+GLOhh+U+DcDZjKdBIR8BjoyIdAkeTL/1s
0CtFAkAwhEvZYP23ngPBm3gfA4Y2Xv0gbYE0gJkKEHkme3umQ+SBjsd/EHnhRaHM
N06NB/96FImKeYv/NcAlp6AtCG3RAkEA0wPZhiKXOAZYcrU/anQ4HfL8kZVGT4uV
/u0XBC6Tx1fkINcz0oji5/4EwgNS2eJOA1QQZkzT348Fqy9zIDblDQJASbSWu1m4
Ln4J0EyVmW0eodow6dQkp0kuVLNlU0TTDv8+1Xnmx/9nPZYtotTlEvxuRoeHq4Iz
xTRASN3VZIidHQ==
-----END PRIVATE KEY-----
`
