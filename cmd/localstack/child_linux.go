package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The kernel counts as a child's parent the thread that started it. The main thread never ends.
func init() { runtime.LockOSThread() }

// childAttributes tie a command to our life: should we be killed, it is told to end, for its servers
// are then nobody's. On a terminal it stays in our process group, to read from it and to get Ctrl-C;
// elsewhere it has its own, so that a signal to our group reaches it once, through us.
func childAttributes(terminal bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: !terminal}
}

// onTerminal tells whether we are in the foreground of a terminal, which sends Ctrl-C to our whole group.
func onTerminal() bool {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return len(f) > 5 && f[5] == strconv.Itoa(syscall.Getpgrp())
}
