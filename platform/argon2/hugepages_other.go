//go:build !linux

package argon2

// onHugePages does nothing: other kernels decide for themselves.
func onHugePages([]block) {}
