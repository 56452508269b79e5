package auth

import (
	"bytes"
	_ "embed" // the list of common passwords
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"user-service/platform/fault"
)

const (
	minPassword = 8
	maxPassword = 128
)

// checkPassword notes every rule that password breaks, CONTRACT "Data".
func checkPassword(fields fault.Fields, field, password, name, email string) {
	length := utf8.RuneCountInString(password)
	switch {
	case length < minPassword:
		fields.Add(field, "This password is too short. It must contain at least 8 characters.")
	case length > maxPassword:
		fields.Add(field, "This password is too long. It must contain at most 128 characters.")
		return
	}
	if password != "" && !strings.ContainsFunc(password, func(r rune) bool { return !unicode.IsDigit(r) }) {
		fields.Add(field, "This password is entirely numeric.")
	}
	if isCommon(password) || isOurName(password) {
		fields.Add(field, "This password is too common.")
	}
	if isClose(password, name) {
		fields.Add(field, "The password is too similar to the name.")
	}
	if isClose(password, email) {
		fields.Add(field, "The password is too similar to the email address.")
	}
}

// bounded keeps a hostile password from costing more than a real one: none that long is stored.
func bounded(password string) string {
	if utf8.RuneCountInString(password) > maxPassword {
		return ""
	}
	return password
}

func trimmed(email string) string { return strings.TrimSpace(email) }

// commonPasswords are 17,950 of the most used passwords, those of 8 characters and more, in small
// letters and byte order (from @zxcvbn-ts/language-common, MIT licence).
//
//go:embed common_passwords.txt
var commonPasswords []byte

func isCommon(password string) bool {
	wanted := []byte(strings.ToLower(password))
	// Halving the bytes, not the lines: no index has to be kept in memory.
	start := sort.Search(len(commonPasswords), func(i int) bool {
		return bytes.Compare(lineFrom(i), wanted) >= 0
	})
	return start < len(commonPasswords) && bytes.Equal(lineFrom(start), wanted)
}

// ourName is what everybody would try here first: the words of this service's name, whatever digits
// and punctuation go with them.
var ourName = regexp.MustCompile(`^(users?|services?|notifications?)+$`)

func isOurName(password string) bool {
	return ourName.MatchString(strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, password))
}

// lineFrom is the line that byte i belongs to.
func lineFrom(i int) []byte {
	start := bytes.LastIndexByte(commonPasswords[:i], '\n') + 1
	length := bytes.IndexByte(commonPasswords[start:], '\n')
	return commonPasswords[start : start+length]
}

// tooClose is from when on two texts are alike, as in Django's UserAttributeSimilarityValidator.
const tooClose = 0.7

var separators = regexp.MustCompile(`[^\pL\pN_]+`)

// isClose compares a password with an attribute and each of its words.
func isClose(password, attribute string) bool {
	password, attribute = strings.ToLower(password), strings.ToLower(attribute)
	for _, part := range append(separators.Split(attribute, -1), attribute) {
		if part != "" && likeness(password, part) >= tooClose {
			return true
		}
	}
	return false
}

// likeness is twice the number of characters that both have, over the number of all: the
// quick_ratio of Python's difflib.SequenceMatcher, by which Django judges.
func likeness(a, b string) float64 {
	have := map[rune]int{}
	for _, r := range b {
		have[r]++
	}
	shared, total := 0, utf8.RuneCountInString(b)
	for _, r := range a {
		total++
		if have[r] > 0 {
			have[r]--
			shared++
		}
	}
	return 2 * float64(shared) / float64(total)
}
