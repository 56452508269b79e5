package idempotency

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// seal hides what is kept from whoever only holds the database. With another secret nothing is found
// any more, so nothing has to be opened that cannot be.
type seal struct{ mac, master []byte }

func newSeal(secret []byte) (s seal, err error) {
	if s.mac, err = hkdf.Key(sha256.New, secret, nil, "user-service idempotency keys", sha256.Size); err != nil {
		return s, err
	}
	s.master, err = hkdf.Key(sha256.New, secret, nil, "user-service idempotency replies", sha256.Size)
	return s, err
}

func (s seal) key(r Request) []byte {
	return s.digest("request", r.Principal, r.Method, r.Path, r.ID)
}

func (s seal) fingerprint(r Request) []byte { return s.digest("body", string(r.Body)) }

// digest takes the length of each part too: no two lists of parts are alike.
func (s seal) digest(parts ...string) []byte {
	mac := hmac.New(sha256.New, s.mac)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// cipher has a key of its own for each request: a reply put into another row does not open, and no key
// gets near the number of messages for which random nonces are safe (NIST SP 800-38D, section 8.3).
func (s seal) cipher(key []byte) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, s.master)
	mac.Write(key)
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s seal) close(key []byte, reply Reply) ([]byte, error) {
	plain, err := json.Marshal(reply)
	if err != nil {
		return nil, err
	}
	aead, err := s.cipher(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, nil), nil //nolint:gosec // it makes a random nonce itself
}

func (s seal) open(key, sealed []byte) (*Reply, error) {
	aead, err := s.cipher(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open a kept reply: %w", err)
	}
	reply := new(Reply)
	return reply, json.Unmarshal(plain, reply)
}
