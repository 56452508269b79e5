package rules_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
	"user-service/platform/rules"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Ada": "Ada", "  Ada Lovelace\t": "Ada Lovelace", "Ὑπατία": "Ὑπατία", "مريم": "مريم", "می\u200cخواهم": "می\u200cخواهم", "\u200fשרה": "\u200fשרה", "👩‍🚀": "👩‍🚀",
		strings.Repeat("ä", 255): strings.Repeat("ä", 255), "O'Brien <b>": "O'Brien <b>", "'; DROP TABLE users; --": "'; DROP TABLE users; --",
	} {
		fields := fault.Fields{}
		require.Equal(t, want, rules.Name(fields, "name", name))
		require.NoError(t, fields.Err(), name)
	}
	for name, want := range map[string]string{
		"":                       "This field may not be blank.",
		" \t\n":                  "This field may not be blank.", //nolint:gocritic // space is what is tested
		strings.Repeat("ä", 256): "Must be at most 255 characters long.", "a\x00b": "Control characters are not allowed.",
		"\u200b\u2060\u200f": "This field may not be blank.", "\u00a0": "This field may not be blank.", "\x00": "Control characters are not allowed.",
		"a\nb": "Control characters are not allowed.", "a\u0085b": "Control characters are not allowed.",
	} {
		fields := fault.Fields{}
		rules.Name(fields, "name", name)
		require.Equal(t, []string{want}, fields["name"], "%q", name)
	}
}

// long is an address of n characters.
func long(n int) string {
	address := "a@" + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 63) + "."
	return address + strings.Repeat("e", n-len(address)-4) + ".com"
}

func TestEmailAddresses(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		" Ada@EXAMPLE.Com ": "Ada@example.com", //nolint:gocritic // space is what is tested
		"ada@example.com":   "ada@example.com", "a.b+c_d-e@sub.example.co": "a.b+c_d-e@sub.example.co",
		strings.Repeat("a", 64) + "@example.com": strings.Repeat("a", 64) + "@example.com", "o'brien@example.ie": "o'brien@example.ie",
		"x@xn--bcher-kva.example": "x@xn--bcher-kva.example", "1@2.de": "1@2.de", long(254): long(254),
	} {
		fields := fault.Fields{}
		require.Equal(t, want, rules.Email(fields, "email", email))
		require.NoError(t, fields.Err(), email)
	}
	for _, email := range []string{
		"", "a", "a@b", "@example.com", "a@", "a@@example.com", "a@b@example.com", "a b@example.com", "a@exam ple.com", "a@example.com.",
		"a@.example.com", "a@example..com", "a@-example.com", "a@example-.com", "ä@example.com", "a@exämple.com", "a@example.com\n", "<a@example.com>",
		"Ada <a@example.com>", `"a b"@example.com`, "a@[127.0.0.1]", strings.Repeat("a", 65) + "@example.com", "a@example.com\x00",
		"a@" + strings.Repeat("a", 64) + ".com", long(255), "a@" + strings.Repeat("aaaaaaaaa.", 26) + "com", "a@example.com,b@example.com", "a@example.com\r\nBcc: b@example.com",
	} {
		if strings.TrimSpace(email) != email {
			continue // space around it is taken off
		}
		fields := fault.Fields{}
		rules.Email(fields, "email", email)
		require.Equal(t, []string{"Enter a valid email address."}, fields["email"], "%q", email)
	}
}

func TestDeviceTokens(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"x", strings.Repeat("a", 4096), "fcm:APA91b-_:~!"} {
		fields := fault.Fields{}
		rules.PushToken(fields, "push_token", token)
		require.NoError(t, fields.Err(), token)
	}
	for token, want := range map[string]string{
		"": "This field may not be blank; send null to remove the token.", strings.Repeat("a", 4097): "Must be at most 4096 characters long.",
		"a b": "Only visible ASCII characters are allowed.", "ä": "Only visible ASCII characters are allowed.", "a\x7f": "Only visible ASCII characters are allowed.",
	} {
		fields := fault.Fields{}
		rules.PushToken(fields, "push_token", token)
		require.Equal(t, []string{want}, fields["push_token"], "%.20q", token)
	}
}
