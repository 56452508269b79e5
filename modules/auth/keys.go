package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// AcceptedKeys says which private keys sign tokens.
const AcceptedKeys = "PEM with private keys, not encrypted: Ed25519, EC P-256, or RSA of 2048 to 8192 bits"

const minRSA, maxRSA = 2048, 8192 // bits; a longer one would take a core for each token

// SigningKey is a key with the one algorithm it is for: a token cannot choose another.
type SigningKey struct {
	id      string // the thumbprint of RFC 7638; empty for the shared secret
	method  jwt.SigningMethod
	private any
	public  any
	jwk     jwk
}

// jwk is a public key in the form of RFC 7517. The fields above Use, in this order, are what its
// thumbprint is made of.
type jwk struct {
	Curve     string `json:"crv,omitempty" doc:"Curve of an elliptic key." example:"Ed25519"`
	Exponent  string `json:"e,omitempty" doc:"Exponent of an RSA key." example:"AQAB"`
	Type      string `json:"kty" doc:"Kind of the key." enum:"OKP,EC,RSA" example:"OKP"`
	Modulus   string `json:"n,omitempty" doc:"Modulus of an RSA key."`
	X         string `json:"x,omitempty" doc:"Point of an elliptic key." example:"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	Y         string `json:"y,omitempty" doc:"Point of an elliptic key, its other half."`
	Use       string `json:"use,omitempty" doc:"What it is for." example:"sig"`
	Algorithm string `json:"alg,omitempty" doc:"Algorithm of its signatures." enum:"EdDSA,ES256,RS256" example:"EdDSA"`
	ID        string `json:"kid,omitempty" doc:"Id that tokens name it by." example:"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"`
}

// sharedKey signs with the secret that siblings know too.
func sharedKey(secret []byte) SigningKey {
	return SigningKey{method: jwt.SigningMethodHS256, private: secret, public: secret}
}

// ParseSigningKeys reads the private keys of a PEM file. Its errors show nothing of them.
func ParseSigningKeys(content []byte) (keys []SigningKey, err error) {
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			break
		}
		var private any
		switch block.Type {
		case "PRIVATE KEY":
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			private, err = x509.ParseECPrivateKey(block.Bytes)
		case "EC PARAMETERS": // openssl writes them in front of the key, which names its curve itself
			continue
		default:
			return nil, fmt.Errorf("holds a block %q", block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("holds a %s that cannot be read, or is encrypted", block.Type)
		}
		key, err := newSigningKey(private)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no private key")
	}
	return keys, nil
}

func newSigningKey(private any) (SigningKey, error) {
	key := SigningKey{private: private}
	switch private := private.(type) {
	case ed25519.PrivateKey:
		public, _ := private.Public().(ed25519.PublicKey)
		key.method, key.public = jwt.SigningMethodEdDSA, public
		key.jwk = jwk{Type: "OKP", Curve: "Ed25519", X: tokenText.EncodeToString(public)}
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return key, fmt.Errorf("holds an EC key on the curve %s", private.Params().Name)
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			return key, errors.New("holds an EC key that is not valid")
		}
		const size = 32 // of a coordinate; in front stands the mark of an uncompressed point
		key.method, key.public = jwt.SigningMethodES256, &private.PublicKey
		key.jwk = jwk{Type: "EC", Curve: "P-256", X: tokenText.EncodeToString(point[1 : 1+size]), Y: tokenText.EncodeToString(point[1+size:])}
	case *rsa.PrivateKey:
		if bits := private.N.BitLen(); bits < minRSA || bits > maxRSA {
			return key, fmt.Errorf("holds an RSA key of %d bits", bits)
		}
		key.method, key.public = jwt.SigningMethodRS256, &private.PublicKey
		key.jwk = jwk{Type: "RSA", Modulus: tokenText.EncodeToString(private.N.Bytes()), Exponent: tokenText.EncodeToString(big.NewInt(int64(private.E)).Bytes())}
	default:
		return key, fmt.Errorf("holds a key of the kind %T", private)
	}
	canonical, err := json.Marshal(key.jwk)
	if err != nil {
		return key, err
	}
	thumbprint := sha256.Sum256(canonical)
	key.id = tokenText.EncodeToString(thumbprint[:])
	key.jwk.Use, key.jwk.Algorithm, key.jwk.ID = "sig", key.method.Alg(), key.id
	return key, nil
}

// keySet is what siblings verify tokens with, RFC 7517 section 5. A shared secret is not in it.
type keySet struct {
	Keys []jwk `json:"keys" doc:"The keys that tokens may be signed by."`
}

func (s Settings) keySet() []byte {
	set := keySet{[]jwk{}}
	for _, key := range s.SigningKeys {
		set.Keys = append(set.Keys, key.jwk)
	}
	body, _ := json.Marshal(set) // strings only: it cannot fail
	return body
}
