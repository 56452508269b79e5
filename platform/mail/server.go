package mail

import (
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// Accepted says which URLs ParseServer takes.
const Accepted = "smtp://user:password@host:587 (STARTTLS is demanded, but not of a loopback host), smtps://user:password@host:465 (TLS from the start), " +
	"?tls=required or ?tls=off with smtp://"

// Server is a mail server as its URL describes it.
type Server struct {
	host           string
	port           int
	user, password string
	tls            security
}

type security int

const (
	startTLS security = iota // demanded, never merely offered: whoever can cut it out could read the mails
	implicitTLS
	noTLS
)

// ParseServer reads the URL of a mail server. Its errors do not show the URL, which holds a password.
func ParseServer(raw string) (Server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Server{}, errors.New("cannot be parsed as a URL")
	}
	s := Server{host: u.Hostname()}
	ports := map[string]int{"smtp": 587, "smtps": 465}
	switch {
	case ports[u.Scheme] == 0:
		return Server{}, fmt.Errorf("has the scheme %q", u.Scheme)
	case s.host == "":
		return Server{}, errors.New("has no host")
	case strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		return Server{}, errors.New("has a path")
	}
	if s.port = ports[u.Scheme]; u.Port() != "" {
		if s.port, err = strconv.Atoi(u.Port()); err != nil || s.port < 1 || s.port > 65535 {
			return Server{}, errors.New("has a port that is none")
		}
	}
	if s.tls, err = wantedSecurity(u); err != nil {
		return Server{}, err
	}
	return s, s.credentials(u)
}

// wantedSecurity is TLS unless the host is this machine: there a mail server seldom has a certificate
// that anybody signed, and nobody listens in between.
func wantedSecurity(u *url.URL) (security, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return 0, errors.New("has a query that cannot be read")
	}
	wish := query.Get("tls")
	for name := range query {
		if name != "tls" {
			return 0, fmt.Errorf("has the unknown parameter %q", name)
		}
	}
	switch {
	case wish != "" && wish != "required" && wish != "off":
		return 0, fmt.Errorf("has tls=%q", wish)
	case u.Scheme == "smtps" && wish == "off":
		return 0, errors.New("has tls=off, and a scheme that means TLS")
	case u.Scheme == "smtps":
		return implicitTLS, nil
	case wish == "off" || (wish == "" && loopback(u.Hostname())):
		return noTLS, nil
	}
	return startTLS, nil
}

func (s *Server) credentials(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	switch {
	case s.user == "" || s.password == "":
		return errors.New("has a user or a password without the other")
	case s.tls == noTLS && !loopback(s.host):
		return errors.New("would show the password to the network without TLS")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// ParseFrom reads who mails are from: an address, or Name <address>.
func ParseFrom(raw string) (*netmail.Address, error) {
	from, err := netmail.ParseAddress(raw)
	if err != nil || strings.ContainsFunc(from.Address, func(r rune) bool { return r > unicode.MaxASCII }) {
		return nil, errors.New("is no mail address in ASCII")
	}
	return from, nil
}
