package argon2

import "golang.org/x/sys/cpu"

// wide reports whether the processor has the instructions of compress.
var wide = cpu.X86.HasAVX512F

// compress is G (section 3.5): out becomes the permutation of a xor b, xor a, xor b, and with add xor what
// it was. It may be one of them.
//
//go:noescape
func compress(out, a, b *block, add bool)
