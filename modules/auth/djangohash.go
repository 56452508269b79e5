package auth

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"user-service/platform/argon2"
)

// What a stored hash may cost at the most: some times the defaults of Django 6 (1,200,000 iterations
// of PBKDF2, bcrypt 12, Argon2 with 100 MiB), and below what would stop the service.
const (
	maxIterations = 5_000_000
	maxBcrypt     = 15
	maxMemory     = 256 << 10 // KiB
	maxPasses     = 16
	maxLanes      = 16
)

// comparison tells whether a password is the one that was hashed. Argon2 does it in memory.
type comparison func(password string, memory *argon2.Memory) bool

// readHash understands our own hashes and those that Django made. It does no work: what it gives
// nil for no password can match, like Django's unusable passwords, which begin with "!".
func readHash(hash string) comparison {
	algorithm, rest, _ := strings.Cut(hash, "$")
	switch algorithm {
	case "", "argon2": // ours is Django's without the name
		return readArgon2(rest)
	case "pbkdf2_sha256":
		return readPBKDF2(rest)
	case "bcrypt":
		return readBcrypt(rest, func(password string) []byte { return []byte(password) })
	case "bcrypt_sha256":
		return readBcrypt(rest, func(password string) []byte {
			sum := sha256.Sum256([]byte(password))
			return []byte(hex.EncodeToString(sum[:]))
		})
	}
	return nil
}

// CanVerify reports whether there can be a password for a hash that Django made.
func CanVerify(hash string) bool { return readHash(hash) != nil }

// outdated reports whether a hash is not of the kind that we make at this cost, or a weaker one.
func outdated(hash string, cost Cost) bool {
	h, ok := parseArgon2(strings.TrimPrefix(hash, "$"))
	return !ok || !strings.HasPrefix(hash, "$argon2id$") ||
		h.cost.Memory < cost.Memory || h.cost.Passes < cost.Passes ||
		len(h.salt) < saltLength || len(h.key) < keyLength
}

type argon2Hash struct {
	cost      Cost
	salt, key []byte
}

// argon2Form is the PHC string format, https://github.com/P-H-C/phc-string-format, without its first $.
var argon2Form = regexp.MustCompile(`^argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)

func parseArgon2(text string) (h argon2Hash, ok bool) {
	parts := argon2Form.FindStringSubmatch(text)
	if parts == nil {
		return h, false
	}
	memory, passes, lanes := number(parts[1]), number(parts[2]), number(parts[3])
	if memory < argon2.MinMemory*lanes || memory > maxMemory || passes > maxPasses || lanes > maxLanes {
		return h, false
	}
	h.cost = Cost{Memory: uint32(memory), Passes: uint32(passes), Lanes: uint8(lanes)} //nolint:gosec // within the bounds above
	var saltErr, keyErr error
	h.salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	h.key, keyErr = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	return h, saltErr == nil && keyErr == nil
}

func readArgon2(text string) comparison {
	h, ok := parseArgon2(text)
	if !ok {
		return nil
	}
	return func(password string, memory *argon2.Memory) bool {
		key := memory.Key([]byte(password), h.salt, h.cost, uint32(len(h.key))) //nolint:gosec // of 64 bytes at the most
		return subtle.ConstantTimeCompare(key, h.key) == 1
	}
}

var pbkdf2Form = regexp.MustCompile(`^([1-9]\d{0,6})\$([^$]{1,128})\$([A-Za-z0-9+/]{43}=)$`)

func readPBKDF2(text string) comparison {
	parts := pbkdf2Form.FindStringSubmatch(text)
	if parts == nil {
		return nil
	}
	iterations, salt := number(parts[1]), []byte(parts[2])
	want, err := base64.StdEncoding.Strict().DecodeString(parts[3])
	if err != nil || iterations > maxIterations {
		return nil
	}
	return func(password string, _ *argon2.Memory) bool {
		key, err := pbkdf2.Key(sha256.New, password, salt, iterations, len(want))
		return err == nil && subtle.ConstantTimeCompare(key, want) == 1
	}
}

var bcryptForm = regexp.MustCompile(`^\$2[aby]\$(0[4-9]|[1-9]\d)\$[./A-Za-z0-9]{53}$`)

// readBcrypt looks at 72 bytes of the password at the most, as every bcrypt does.
func readBcrypt(text string, prepare func(string) []byte) comparison {
	parts := bcryptForm.FindStringSubmatch(text)
	if parts == nil || number(parts[1]) > maxBcrypt {
		return nil
	}
	return func(password string, _ *argon2.Memory) bool {
		return bcrypt.CompareHashAndPassword([]byte(text), prepare(password)) == nil
	}
}

// number reads digits that a pattern has found, so few that they fit.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
