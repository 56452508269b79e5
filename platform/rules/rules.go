// Package rules says what a name, an e-mail address and a device token look like, wherever they are
// taken in. Each rule notes what is wrong under the field's name.
package rules

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"user-service/platform/fault"
)

const (
	maxName      = 255
	maxEmail     = 254  // RFC 5321 section 4.5.3.1.3, less the angle brackets
	maxLocalPart = 64   // RFC 5321 section 4.5.3.1.1
	maxPushToken = 4096 // far above what FCM and APNs hand out
)

// emailForm is what browsers accept for <input type=email>
// (https://html.spec.whatwg.org/#valid-e-mail-address), with at least one dot in the domain.
var emailForm = regexp.MustCompile(`^[a-zA-Z0-9.!#$%&'*+/=?^_` + "`" + `{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+$`)

// Name gives the name without the space around it.
func Name(fields fault.Fields, field, name string) string {
	name = strings.TrimSpace(name)
	switch {
	case utf8.RuneCountInString(name) > maxName:
		fields.Add(field, "Must be at most 255 characters long.")
	case strings.ContainsFunc(name, unicode.IsControl):
		fields.Add(field, "Control characters are not allowed.")
	case !strings.ContainsFunc(name, visible):
		fields.Add(field, "This field may not be blank.")
	}
	return name
}

// visible leaves out what is there but not seen: space, joiners, direction marks.
func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// Email gives the address without the space around it and with its domain, which has no case, in
// small letters.
func Email(fields fault.Fields, field, email string) string {
	email = strings.TrimSpace(email)
	local, domain, _ := strings.Cut(email, "@")
	if len(email) > maxEmail || len(local) > maxLocalPart || !emailForm.MatchString(email) {
		fields.Add(field, "Enter a valid email address.")
		return email
	}
	return local + "@" + strings.ToLower(domain)
}

// PushToken checks a device token: visible ASCII, as FCM and APNs hand out.
func PushToken(fields fault.Fields, field, token string) {
	switch {
	case token == "":
		fields.Add(field, "This field may not be blank; send null to remove the token.")
	case len(token) > maxPushToken:
		fields.Add(field, "Must be at most 4096 characters long.")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		fields.Add(field, "Only visible ASCII characters are allowed.")
	}
}
