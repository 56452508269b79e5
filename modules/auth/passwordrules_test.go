package auth

import (
	"bytes"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
)

func TestEachBrokenPasswordRuleHasItsMessage(t *testing.T) {
	t.Parallel()
	const (
		short   = "This password is too short. It must contain at least 8 characters."
		long    = "This password is too long. It must contain at most 128 characters."
		numeric = "This password is entirely numeric."
		common  = "This password is too common."
		name    = "The password is too similar to the name."
		email   = "The password is too similar to the email address."
	)
	for password, broken := range map[string][]string{
		"correct horse battery":        nil,
		"пароль-на-кириллице":          nil,
		"🐎🔋📎🐎🔋📎🐎🔋":                     nil,
		strings.Repeat("ab", 64):       nil,
		strings.Repeat("ab", 64) + "c": {long},
		"":                             {short},
		"1234567":                      {short, numeric},
		"🐎🔋📎🐎🔋📎🐎":                      {short},
		"83746152":                     {numeric},
		"٣٤٥٦٧٨٩٠":                     {numeric},
		"password1":                    {common},
		"12345678":                     {numeric, common},
		"PassWord1":                    {common},
		"Userservice2026":              {common},
		"user-service":                 {common},
		"User Service Notification!":   {common},
		"notifications":                {common},
		"user-service-horse":           nil,
		"lovelace1":                    {name, email},
		"ada.lovelace":                 {name, email},
		"ADALOVELACE":                  {name, email},
		"ada@example.com":              {email},
		"examples":                     {email},
	} {
		fields := fault.Fields{}
		checkPassword(fields, "password", password, "Ada Lovelace", "ada.lovelace@example.com")
		require.Equal(t, broken, fields["password"], "%q", password)
	}
}

func TestLikenessIsThatOfPythonsDifflib(t *testing.T) {
	t.Parallel()
	// Figures of difflib.SequenceMatcher(a=…, b=…).quick_ratio().
	for pair, ratio := range map[[2]string]float64{
		{"abcd", "bcde"}:          0.75,
		{"lovelace1", "lovelace"}: 16.0 / 17,
		{"aaaa", "a"}:             0.4,
		{"", "a"}:                 0,
		{"ab", "ba"}:              1,
	} {
		require.InDelta(t, ratio, likeness(pair[0], pair[1]), 1e-9, pair)
	}
}

// TestCloseIsWhatDjangoCallsSimilar has the answers of Django's UserAttributeSimilarityValidator.
func TestCloseIsWhatDjangoCallsSimilar(t *testing.T) {
	t.Parallel()
	for pair, similar := range map[[2]string]bool{
		{"lovelace1", "Ada Lovelace"}:                   true,
		{"ecalevol!", "Ada Lovelace"}:                   true, // the order of characters does not count
		{"lovela7xyz", "Ada Lovelace"}:                  false,
		{"ada_lovelace_99", "ada.lovelace@example.com"}: false,
		{"examples1", "x@example.com"}:                  true,
		{"comcomcom", "x@e.com"}:                        false,
		{"ada-ada-ada", "Ada"}:                          false,
		{strings.Repeat("a", 128), "a"}:                 false,
		{"Étienne12", "étienne dupont"}:                 true,
		{"e\u0301tienne1", "e\u0301tienne"}:             true,
		{"straße12", "STRASSE"}:                         false,
		{"İstanbul1", "istanbul"}:                       true,
		{"नमस्तेदुनिया", "नमस्ते दुनिया"}: true,
	} {
		require.Equal(t, similar, isClose(pair[0], pair[1]), "%q", pair)
	}
}

func TestListOfCommonPasswordsIsSortedAndEveryLineIsFound(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSuffix(string(commonPasswords), "\n"), "\n")
	require.Equal(t, 17950, len(lines)) //nolint:testifylint // a failure need not show them all
	require.True(t, sort.SliceIsSorted(lines, func(i, j int) bool { return bytes.Compare([]byte(lines[i]), []byte(lines[j])) < 0 }))
	for _, line := range lines {
		require.True(t, isCommon(line), line)
		require.False(t, isCommon(line+"\x00"), line)
	}
	require.False(t, isCommon(""))
	require.False(t, isCommon("zzzzzzzzzzzzzzzzzzzzzzzzzz"))
	require.False(t, isCommon("\x00"))
}
