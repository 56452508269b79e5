package push

import (
	"bytes"
	"fmt"
	"regexp"
	"text/template"

	"user-service/messaging"
)

// text is a notification's title and body, with the variables of Go's text/template.
type text struct{ title, body *template.Template }

// builtIn are the templates that are always there, by template_code.
var builtIn = map[string]text{
	"welcome_notification": {
		title: parsed("Welcome, {{.name}}!"),
		body:  parsed("Hi {{.name}}, your account is ready.{{with index . \"link\"}} Have a look: {{.}}{{end}}"),
	},
}

func parsed(source string) *template.Template {
	return template.Must(template.New("text").Option("missingkey=error").Parse(source))
}

// missing finds the variable's name in what text/template says of it.
var missing = regexp.MustCompile(`map has no entry for key "(.*)"`)

// render is Permanent `unknown_template` or `template_failed` when there is no text to be had.
func render(code string, variables map[string]any) (title, body string, err error) {
	t, known := builtIn[code]
	if !known {
		return "", "", &messaging.Permanent{Reason: "unknown_template", Detail: fmt.Sprintf("there is no template %q", code)}
	}
	if variables == nil {
		variables = map[string]any{}
	}
	if title, err = fill(t.title, variables); err != nil {
		return "", "", err
	}
	body, err = fill(t.body, variables)
	return title, body, err
}

func fill(t *template.Template, variables map[string]any) (string, error) {
	var out bytes.Buffer
	if err := t.Execute(&out, variables); err != nil {
		detail := err.Error()
		if found := missing.FindStringSubmatch(detail); found != nil {
			detail = fmt.Sprintf("the variable %q is missing", found[1])
		}
		return "", &messaging.Permanent{Reason: "template_failed", Detail: detail}
	}
	return out.String(), nil
}
