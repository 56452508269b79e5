package auth

import (
	"bytes"
	"embed"
	"fmt"
	html "html/template"
	"regexp"
	text "text/template"
	"time"
	"unicode/utf8"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/platform/mail"
)

//go:embed templates
var templates embed.FS

// letter is a mail yet to be filled in.
type letter struct {
	subject string
	html    *html.Template
	text    *text.Template
}

// letters are the mails there are, by template_code.
var letters = map[string]letter{
	commands.TemplateVerification: load(commands.TemplateVerification, "Please confirm your e-mail address"),
	commands.TemplateReset:        load(commands.TemplateReset, "Reset your password"),
}

func load(code, subject string) letter {
	return letter{
		subject: subject,
		html:    html.Must(html.ParseFS(templates, "templates/layout.html", "templates/"+code+".html")),
		text:    text.Must(text.ParseFS(templates, "templates/"+code+".txt")),
	}
}

// write is Permanent `unknown_template` when there is no such letter.
func write(email messaging.Email) (mail.Message, error) {
	l, known := letters[email.TemplateCode]
	if !known {
		return mail.Message{}, &messaging.Permanent{Reason: "unknown_template", Detail: fmt.Sprintf("there is no template %q", email.TemplateCode)}
	}
	name := presentable(email.Name)
	words := struct{ Subject, Greeting, Link, Lifetime string }{l.subject, greeting(name), email.Link, inWords(email.ExpiresInMinutes)}
	var plain, rich bytes.Buffer
	if err := l.text.Execute(&plain, words); err != nil {
		return mail.Message{}, fmt.Errorf("fill in %s as text: %w", email.TemplateCode, err)
	}
	if err := l.html.ExecuteTemplate(&rich, "layout", words); err != nil {
		return mail.Message{}, fmt.Errorf("fill in %s as HTML: %w", email.TemplateCode, err)
	}
	return mail.Message{
		ID: email.RequestID, To: email.Email, Name: name, Subject: l.subject, Text: plain.String(), HTML: rich.String(), Link: email.Link,
	}, nil
}

// advertising is what mail programs make a link of, or what could be a message of its own.
var advertising = regexp.MustCompile(`[/@:]|\.\pL{2}`)

const longestName = 60 // characters

// presentable leaves out a name that says more than a name: anybody can register a stranger's address
// and choose what our mail would say to them.
func presentable(name string) string {
	if utf8.RuneCountInString(name) > longestName || advertising.MatchString(name) {
		return ""
	}
	return name
}

func greeting(name string) string {
	if name == "" {
		return "Hello,"
	}
	return "Hi " + name + ","
}

// inWords says 90 minutes, 1 hour, 24 hours, 3 days.
func inWords(minutes int) string {
	span, unit := minutes, "minute"
	switch d := time.Duration(minutes) * time.Minute; {
	case d > 48*time.Hour && d%(24*time.Hour) == 0:
		span, unit = minutes/(24*60), "day"
	case d >= time.Hour && d%time.Hour == 0:
		span, unit = minutes/60, "hour"
	}
	if span != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", span, unit)
}
