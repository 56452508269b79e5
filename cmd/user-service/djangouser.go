package main

import (
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"user-service/messaging/commands"
	"user-service/modules/auth"
	"user-service/platform/fault"
	"user-service/platform/rules"
)

// Why a user cannot be taken over, and what was changed to take one over.
const (
	noID         = "no usable id: it is no UUID"
	noEmail      = "no valid e-mail address"
	emailTaken   = "another account has the address, perhaps in other case"
	nameMended   = "name mended: it was empty, too long or had control characters"
	tokenDropped = "push token dropped: too long, or not of visible ASCII characters"
	hashUnknown  = "password of an unknown kind or cost kept: signs in after a reset"
	timeMended   = "time mended: it was infinite, or of no year from 1 to 9999"
)

// unusable is what Django writes for an account without a password.
const unusable = "!"

// account mends what is harmless, so that people can go on signing in, and says what it was. refusal
// is why there can be no account.
func (u djangoUser) account(now time.Time) (account auth.NewAccount, mended []string, refusal string) {
	id, err := uuid.Parse(u.ID)
	if err != nil {
		return account, nil, noID
	}
	fields := fault.Fields{}
	account = auth.NewAccount{Hash: u.Password, User: commands.User{
		ID: id.String(), UserID: id.String(), Email: rules.Email(fields, "email", u.Email), Name: rules.Name(fields, "name", u.Name),
		Preferences:   commands.Preferences{Email: u.EmailAllowed, Push: u.PushAllowed},
		EmailVerified: u.EmailVerified, IsActive: u.IsActive, IsStaff: u.IsStaff || u.IsSuperuser, CreatedAt: now,
	}}
	if u.PushToken != "" {
		account.PushToken = &u.PushToken
		rules.PushToken(fields, "push_token", u.PushToken)
	}
	if fields["email"] != nil {
		return account, nil, noEmail
	}
	if fields["push_token"] != nil {
		account.PushToken, mended = nil, append(mended, tokenDropped)
	}
	if fields["name"] != nil {
		account.Name, mended = mendName(u.Name, account.Email), append(mended, nameMended)
	}
	if u.Password == "" {
		account.Hash = unusable
	} else if !strings.HasPrefix(u.Password, unusable) && !auth.CanVerify(u.Password) {
		mended = append(mended, hashUnknown)
	}
	if u.CreatedAt != nil {
		account.CreatedAt = *u.CreatedAt
	}
	if u.OddTime {
		mended = append(mended, timeMended)
	}
	account.UpdatedAt = account.CreatedAt
	if u.UpdatedAt != nil {
		account.UpdatedAt = *u.UpdatedAt
	}
	return account, mended, ""
}

// longestName is that of platform/rules, in characters.
const longestName = 255

// mendName keeps what can be kept of a name, or takes that of the mailbox.
func mendName(name, email string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if letters := []rune(strings.TrimSpace(name)); len(letters) > longestName {
		name = string(letters[:longestName])
	}
	fields := fault.Fields{}
	if name = rules.Name(fields, "name", name); len(fields) > 0 {
		name, _, _ = strings.Cut(email, "@")
	}
	return name
}
