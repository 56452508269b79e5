//go:build !linux

package auth

func inBackground(start func() error) error { return start() }
