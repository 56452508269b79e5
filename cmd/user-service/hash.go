package main

import (
	"os"

	"user-service/modules/auth"
)

// hashCommand is what the service starts for itself, in the background, once for each core.
type hashCommand struct{}

// Run hashes until the service that started it has ended. It heeds no signal: what is in flight
// there still needs it.
func (hashCommand) Run() error { return auth.ServeHashes(os.Stdin, os.Stdout) }

// hashes is the command line of a process for hashes; none, and they are made in this one, where
// the program does not know its own file.
func hashes() []string {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{program, "hash"}
}
