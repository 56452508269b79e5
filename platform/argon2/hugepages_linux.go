package argon2

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// onHugePages has blocks lie on huge pages where the kernel leaves that to programs (madvise(2),
// MADV_HUGEPAGE). A key reads its memory in an order nobody foresees: with small pages most reads wait for
// a look into the page table first.
func onHugePages(blocks []block) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&blocks[0])), len(blocks)*int(unsafe.Sizeof(block{}))) //nolint:gosec // the blocks and no more
	_ = unix.Madvise(bytes, unix.MADV_HUGEPAGE)
}
