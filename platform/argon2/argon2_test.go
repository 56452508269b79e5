package argon2

import (
	"encoding/base64"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"
)

// TestKeysAreThoseOfTheLibrary uses one memory for keys of all sizes: of none is there to be left anything
// that the next one finds.
func TestKeysAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	var m Memory
	rapid.Check(t, func(t *rapid.T) {
		password, salt := rapid.SliceOf(rapid.Byte()).Draw(t, "password"), rapid.SliceOf(rapid.Byte()).Draw(t, "salt")
		cost := Cost{Passes: rapid.Uint32Range(1, 4).Draw(t, "passes"), Lanes: rapid.Uint8Range(1, 5).Draw(t, "lanes")}
		cost.Memory = rapid.OneOf(rapid.Just(MinMemory*uint32(cost.Lanes)), rapid.Uint32Range(MinMemory*uint32(cost.Lanes), 3000)).Draw(t, "memory")
		length := rapid.Uint32Range(1, 200).Draw(t, "length")
		require.Equal(t, argon2.IDKey(password, salt, cost.Passes, cost.Memory, cost.Lanes, length), m.Key(password, salt, cost, length))
	})
}

// TestKeysAreThoseOfTheReferenceImplementation has some of test.c of github.com/P-H-C/phc-winner-argon2.
func TestKeysAreThoseOfTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	t.Logf("with AVX-512: %t", wide)
	for _, v := range []struct {
		cost           Cost
		password, salt string
		key            string
	}{
		{Cost{Memory: 65536, Passes: 2, Lanes: 1}, "password", "somesalt", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{Cost{Memory: 256, Passes: 2, Lanes: 1}, "password", "somesalt", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{Cost{Memory: 256, Passes: 2, Lanes: 2}, "password", "somesalt", "bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
	} {
		var m Memory
		require.Equal(t, v.key, base64.RawStdEncoding.EncodeToString(m.Key([]byte(v.password), []byte(v.salt), v.cost, 32)))
	}
}

// TestKeysAreTheSameWithoutAVX512 in a process that does not know of it.
func TestKeysAreTheSameWithoutAVX512(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestKeysAreThoseOf")
	child.Env = append(os.Environ(), "GODEBUG=cpu.avx512f=off")
	said, err := child.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "with AVX-512: false")
}

func TestOneMemoryIsUsedByOneKeyAtATime(t *testing.T) {
	t.Parallel()
	var m Memory
	var all sync.WaitGroup
	for n := range uint32(20) {
		all.Go(func() {
			cost := Cost{Memory: 64 + n/2*8, Passes: 1, Lanes: 1}
			want := argon2.IDKey([]byte("password"), []byte("somesalt"), 1, cost.Memory, 1, 32)
			require.Equal(t, want, m.Key([]byte("password"), []byte("somesalt"), cost, 32))
			m.Release()
		})
	}
	all.Wait()
}

var (
	password, salt = []byte("correct horse battery"), []byte("0123456789abcdef")
	usual          = Cost{Memory: 19456, Passes: 2, Lanes: 1}
)

func BenchmarkKey(b *testing.B) {
	m := Memory{HugePages: true}
	for b.Loop() {
		m.Key(password, salt, usual, 32)
	}
}

func BenchmarkKeyOfTheLibrary(b *testing.B) {
	for b.Loop() {
		argon2.IDKey(password, salt, usual.Passes, usual.Memory, usual.Lanes, 32)
	}
}
