//go:build !linux

package auth

import "os/exec"

func startInBackground(process *exec.Cmd) error { return process.Start() }
