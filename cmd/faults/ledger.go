package main

import "sync"

// note is one thing that a client was told is done.
type note struct {
	value  string
	during int // the fault that was on
}

// account is a user as its owner knows it: all that was acknowledged, in order. It has one owner, and is
// read by others when all has come to rest.
type account struct {
	id, email, token, pushToken string

	registered note
	logins     int
	names      []note
	states     []note // of the preferences
	pushes     []note // request ids
}

// state is the n-th of a user's preferences: each differs from the one before it. Mails are switched off
// and on, and now and then pushes are.
func state(n int) preferences { return preferences{Email: n%2 == 0, Push: n%10 != 9} }

type preferences struct {
	Email bool `json:"email"`
	Push  bool `json:"push"`
}

func (p preferences) String() string {
	return map[bool]string{false: "-", true: "e"}[p.Email] + map[bool]string{false: "-", true: "p"}[p.Push]
}

// ledger is all accounts there are.
type ledger struct {
	mu       sync.Mutex
	accounts []*account
}

func (l *ledger) add(a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts = append(l.accounts, a)
}
