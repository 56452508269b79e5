package servers

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// redact makes an error a single line that shows nothing secret of the URL that was used.
func redact(err error, address string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	// The parts of a URL that cannot be parsed are not known, and errors quote all of it.
	if u, parseErr := url.Parse(address); parseErr != nil {
		return errors.New("is not a valid URL")
	} else if password, ok := u.User.Password(); ok && password != "" {
		text = strings.ReplaceAll(text, password, "***")
		text = strings.ReplaceAll(text, url.QueryEscape(password), "***")
	}
	text = strings.ReplaceAll(text, address, "***")
	return errors.New(passwordPattern.ReplaceAllString(text, "$1***"))
}

// passwordPattern finds the password in "user:password@" and "password=…".
var passwordPattern = regexp.MustCompile(`(://[^/@\s]*:|(?i:password=))[^@&\s"]+`)
