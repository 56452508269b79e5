//go:build unix

package main

import "syscall"

// leaveNoCore keeps the memory, which has keys and passwords in it, out of the file that a crash may
// leave behind. Where the system gives cores to a program instead, that decides.
func leaveNoCore() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
