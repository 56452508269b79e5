// Package argon2 computes Argon2id (RFC 9106, version 1.3), which is most of the work there is to a login.
//
// golang.org/x/crypto/argon2 takes new memory for each key and knows no instructions later than SSE4. This
// one works in the same memory again and again, with AVX-512 where the processor has it: it is four times as
// fast. Elsewhere it leaves the work to that one.
package argon2

import (
	"encoding/binary"
	"runtime"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// Cost is what a key takes.
type Cost struct {
	Memory uint32 // KiB
	Passes uint32 // over the memory
	Lanes  uint8  // that others may compute side by side; here it is one after another
}

// MinMemory is the least that there has to be for each lane, in KiB.
const MinMemory = 8

// Memory is where keys are computed, one after another. It keeps what the last one took. The zero value is
// ready.
type Memory struct {
	// HugePages has it lie on such, for a process that does nothing else: the part of the heap that it had stays
	// on huge pages when it is released.
	HugePages bool

	mu     sync.Mutex
	blocks []block
}

// block is the unit of memory, 1 KiB.
type block [128]uint64

const (
	slices  = 4 // of a lane in a pass: lanes read of each other what is in finished ones
	version = 0x13
	variant = 2 // Argon2id
)

// Key derives length bytes from a password. The cost is 1 pass, 1 lane and MinMemory at the least.
func (m *Memory) Key(password, salt []byte, cost Cost, length uint32) []byte {
	if !wide {
		return argon2.IDKey(password, salt, cost.Passes, cost.Memory, cost.Lanes, length)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.filling(cost)
	f.begin(seed(password, salt, cost, length))
	for f.pass = range cost.Passes {
		for f.slice = range uint32(slices) {
			for f.lane = range f.lanes {
				f.segment()
			}
		}
	}
	return f.key(length)
}

// Release leaves to the collector what the last key took.
func (m *Memory) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks = nil
}

// filling is memory that is being filled, segment after segment: of each lane a quarter.
type filling struct {
	blocks            []block
	passes, lanes     uint32
	length, quarter   uint32 // of a lane, in blocks
	pass, slice, lane uint32 // that are being worked at
}

func (m *Memory) filling(cost Cost) *filling {
	f := &filling{passes: cost.Passes, lanes: uint32(cost.Lanes)}
	f.quarter = cost.Memory / (slices * f.lanes)
	f.length = slices * f.quarter
	if size := int(f.length * f.lanes); len(m.blocks) != size {
		if m.blocks != nil {
			m.blocks = nil
			runtime.GC() // they may be large: both are not to be there at once
		}
		m.blocks = make([]block, size)
		if m.HugePages {
			onHugePages(m.blocks)
		}
	}
	f.blocks = m.blocks
	return f
}

// seed is H0 (section 3.2).
func seed(password, salt []byte, cost Cost, length uint32) [blake2b.Size]byte {
	var in []byte
	for _, n := range []uint32{uint32(cost.Lanes), length, cost.Memory, cost.Passes, version, variant} {
		in = binary.LittleEndian.AppendUint32(in, n)
	}
	for _, part := range [][]byte{password, salt, nil, nil} { // neither a secret nor associated data
		in = binary.LittleEndian.AppendUint32(in, uint32(len(part))) //nolint:gosec // some bytes
		in = append(in, part...)
	}
	return blake2b.Sum512(in)
}

// begin fills the first two blocks of each lane.
func (f *filling) begin(seed [blake2b.Size]byte) {
	var bytes [1024]byte
	for lane := range f.lanes {
		for n := range uint32(2) {
			in := binary.LittleEndian.AppendUint32(seed[:], n)
			hash(bytes[:], binary.LittleEndian.AppendUint32(in, lane))
			b := &f.blocks[lane*f.length+n]
			for i := range b {
				b[i] = binary.LittleEndian.Uint64(bytes[8*i:])
			}
		}
	}
}

// segment fills a slice of a lane. In the first half of the first pass the order in which memory is read does not
// depend on the password (Argon2i), so that who sees it learns nothing; later it does (Argon2d).
func (f *filling) segment() {
	foreseen := f.pass == 0 && f.slice < slices/2
	var pseudo addresses
	first := uint32(0)
	if f.pass == 0 && f.slice == 0 {
		first = 2
	}
	lane := f.blocks[f.lane*f.length : (f.lane+1)*f.length]
	for i := first; i < f.quarter; i++ {
		at := f.slice*f.quarter + i
		previous := &lane[(at+f.length-1)%f.length]
		random := previous[0]
		if foreseen {
			random = pseudo.at(f, i)
		}
		compress(&lane[at], previous, f.reference(random, i), f.pass > 0)
	}
}

// reference is the block that goes into the one at index of this segment (section 3.4).
func (f *filling) reference(random uint64, index uint32) *block {
	lane := uint32(random>>32) % f.lanes
	if f.pass == 0 && f.slice == 0 {
		lane = f.lane
	}
	begin, ready := uint32(0), f.slice*f.quarter // blocks of finished segments
	if f.pass > 0 {
		begin, ready = (f.slice+1)*f.quarter, f.length-f.quarter
	}
	if lane == f.lane {
		ready += index - 1 // all but the previous one
	} else if index == 0 {
		ready-- // the last of another lane may be too new for it
	}
	x := random & 0xffffffff
	x = x * x >> 32
	back := uint64(ready) * x >> 32
	return &f.blocks[lane*f.length+uint32((uint64(begin+ready-1)-back)%uint64(f.length))] //nolint:gosec // less than length
}

// addresses are pseudo-random numbers that depend on the place alone (section 3.4.1.2).
type addresses struct {
	in, out, zero block
}

func (a *addresses) at(f *filling, index uint32) uint64 {
	if a.in[6] == 0 || index%128 == 0 {
		a.in = block{uint64(f.pass), uint64(f.lane), uint64(f.slice), uint64(len(f.blocks)), uint64(f.passes), variant, a.in[6] + 1}
		compress(&a.out, &a.in, &a.zero, false)
		compress(&a.out, &a.out, &a.zero, false)
	}
	return a.out[index%128]
}

// key is made of the last blocks of all lanes.
func (f *filling) key(length uint32) []byte {
	var last block
	for lane := range f.lanes {
		for i, word := range f.blocks[(lane+1)*f.length-1] {
			last[i] ^= word
		}
	}
	var in []byte
	for _, word := range last {
		in = binary.LittleEndian.AppendUint64(in, word)
	}
	key := make([]byte, length)
	hash(key, in)
	return key
}

// hash fills out, of whatever length (section 3.3, H').
func hash(out, in []byte) {
	in = append(binary.LittleEndian.AppendUint32(nil, uint32(len(out))), in...) //nolint:gosec // of 1 KiB at the most
	for len(out) > blake2b.Size {
		sum := blake2b.Sum512(in)
		in = sum[:]
		out = out[copy(out, sum[:blake2b.Size/2]):]
	}
	h, _ := blake2b.New(len(out), nil) // fails for other lengths than 1 to 64
	_, _ = h.Write(in)
	h.Sum(out[:0])
}
