//go:build !linux

package auth

// onHugePages does nothing: other kernels decide for themselves.
func onHugePages(int, int) {}
