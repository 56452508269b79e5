package auth

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onHugePages has the next blocks of so many bytes on this process's heap lie on huge pages, where the
// kernel leaves that to programs (madvise(2), MADV_HUGEPAGE). A hash reads its memory in an order nobody
// foresees: with small pages most reads wait for a look into the page table first, which is 8 % of a hash.
func onHugePages(blocks, size int) {
	runtime.GC() // nothing lies about that makes room elsewhere later
	all := make([][]byte, blocks)
	for i := range all {
		all[i] = make([]byte, size)
		_ = unix.Madvise(all[i], unix.MADV_HUGEPAGE)
	}
	runtime.KeepAlive(all)
	runtime.GC() // the next blocks of this size get the same places
}
