package push

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	syntax "text/template/parse"

	"github.com/prometheus/client_golang/prometheus"

	"user-service/messaging"
)

// Text is what a notification says.
type Text struct{ Title, Body string }

// texter makes the text of a notification. Its errors are Permanent, or *Away.
type texter interface {
	render(ctx context.Context, code, language string, variables map[string]any) (Text, error)
	breakers() []*breaker
	collectors() []prometheus.Collector
}

// Templates are the texts of notifications, by template_code, or code and language with a dot between.
type Templates map[string]pattern

// pattern is a text with places for variables.
type pattern struct{ title, body part }

// part is a title or a body.
type part struct {
	*template.Template
	optional []string // variables, which a condition asks for
}

//go:embed templates/*.json
var builtIn embed.FS

// BuiltInTemplates are those that are always there.
func BuiltInTemplates() Templates {
	t := Templates{}
	if faults := t.add(builtIn, "templates"); len(faults) > 0 {
		panic(faults[0]) // a test reads them all
	}
	return t
}

// Add reads the templates of a folder, which replace others of the same code. Each is a file of its own,
// CODE.json or for one language CODE.LANGUAGE.json as in welcome_notification.de.json, with a title and a
// body in the form of Go's text/template, where {{name}} stands for {{.name}}, and a variable that an if or
// a with asks for need not be there.
// It gives all that is wrong with them.
func (t Templates) Add(folder fs.FS) (faults []error) { return t.add(folder, ".") }

func (t Templates) add(folder fs.FS, below string) (faults []error) {
	files, err := fs.ReadDir(folder, below)
	if err != nil {
		return []error{errors.New("cannot be read")}
	}
	for _, file := range files {
		name, isTemplate := strings.CutSuffix(file.Name(), ".json")
		if !isTemplate || file.IsDir() {
			continue
		}
		content, err := fs.ReadFile(folder, path.Join(below, file.Name()))
		if err == nil {
			t[name], err = parsed(content)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file.Name(), err))
		}
		if code, language, translated := strings.Cut(name, "."); translated {
			t[code+"."+strings.ToLower(language)] = t[name] // languages have no case
		}
	}
	return faults
}

func parsed(content []byte) (t pattern, err error) {
	var source struct{ Title, Body string }
	if err := json.Unmarshal(content, &source); err != nil {
		return t, fmt.Errorf("is no JSON of title and body: %w", err)
	}
	if source.Title == "" || source.Body == "" {
		return t, errors.New("has no title or no body")
	}
	if t.title, err = parsedText(source.Title); err != nil {
		return t, fmt.Errorf("title: %w", err)
	}
	if t.body, err = parsedText(source.Body); err != nil {
		return t, fmt.Errorf("body: %w", err)
	}
	return t, nil
}

// plain is a variable as other template languages write it. What is a word of text/template stays.
var plain = regexp.MustCompile(`\{\{(-?\s*)([A-Za-z_]\w*)(\s*-?)\}\}`)

var words = regexp.MustCompile(`^(block|break|continue|define|else|end|false|if|nil|range|template|true|with)$`)

func parsedText(source string) (part, error) {
	source = plain.ReplaceAllStringFunc(source, func(found string) string {
		parts := plain.FindStringSubmatch(found)
		if words.MatchString(parts[2]) {
			return found
		}
		return "{{" + parts[1] + "." + parts[2] + parts[3] + "}}"
	})
	parsed, err := template.New("text").Option("missingkey=error").Parse(source)
	if err != nil {
		return part{}, err
	}
	p := part{Template: parsed}
	p.askIn(parsed.Root)
	return p, nil
}

// askIn finds what is asked for while the dot is still that of the whole. There it stands under another name
// from now on, by which it is always given; everywhere else a variable that is missing is a fault, as it was.
func (p *part) askIn(list *syntax.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *syntax.IfNode:
			p.ask(n.Pipe)
			p.askIn(n.List)
			p.askIn(n.ElseList)
		case *syntax.WithNode:
			p.ask(n.Pipe)
			p.askIn(n.ElseList)
		}
	}
}

// ask finds a variable that is all of a condition, but for a not, and each of those of an and or an or.
func (p *part) ask(condition *syntax.PipeNode) {
	args := condition.Cmds[0].Args
	word, is := args[0].(*syntax.IdentifierNode)
	logical := is && (word.Ident == "not" || word.Ident == "and" || word.Ident == "or")
	if len(condition.Cmds) > 1 || len(args) > 1 && !logical {
		return // what becomes of null there, nobody knows
	}
	for _, arg := range args {
		if field, is := arg.(*syntax.FieldNode); is && len(field.Ident) == 1 {
			p.optional = append(p.optional, field.Ident[0])
			field.Ident = []string{asked, field.Ident[0]}
		}
	}
}

// asked is a name that no template can write: what is asked for is under it.
const asked = "?"

// missing finds the variable's name in what text/template says of it.
var missing = regexp.MustCompile(`map has no entry for key "(.*)"`)

// render is Permanent `unknown_template` or `template_failed` when there is no text to be had.
func (t Templates) render(_ context.Context, code, language string, variables map[string]any) (out Text, err error) {
	found, known := t.in(code, language)
	if !known {
		return out, &messaging.Permanent{Reason: "unknown_template", Detail: fmt.Sprintf("there is no template %q", code)}
	}
	if variables == nil {
		variables = map[string]any{}
	}
	if out.Title, err = fill(found.title, variables); err != nil {
		return out, err
	}
	out.Body, err = fill(found.body, variables)
	return out, err
}

// Nothing of them can be away.
func (Templates) breakers() []*breaker { return nil }

func (Templates) collectors() []prometheus.Collector { return nil }

// in looks for de-AT, then for de, and takes the text without a language otherwise (RFC 4647 section 3.4).
func (t Templates) in(code, language string) (pattern, bool) {
	for language = strings.ToLower(language); language != ""; {
		if found, known := t[code+"."+language]; known {
			return found, true
		}
		language = language[:max(strings.LastIndexByte(language, '-'), 0)]
	}
	found, known := t[code]
	return found, known
}

func fill(t part, variables map[string]any) (string, error) {
	var out bytes.Buffer
	if err := t.Execute(&out, t.given(variables)); err != nil {
		detail := err.Error()
		if found := missing.FindStringSubmatch(detail); found != nil {
			detail = fmt.Sprintf("the variable %q is missing", found[1])
		}
		return "", &messaging.Permanent{Reason: "template_failed", Detail: detail}
	}
	text := out.String()
	if strings.Contains(text, nothing) {
		return "", &messaging.Permanent{Reason: "template_failed", Detail: "a variable is null that is to be shown" + nullsOf(variables)}
	}
	return text, nil
}

// given are the variables, and apart from them those that are asked for: null where there is none.
func (p *part) given(variables map[string]any) map[string]any {
	if len(p.optional) == 0 {
		return variables
	}
	optional := make(map[string]any, len(p.optional))
	for _, name := range p.optional {
		optional[name] = variables[name]
	}
	all := maps.Clone(variables)
	all[asked] = optional
	return all
}

// nothing is what text/template shows of null.
const nothing = "<no value>"

func nullsOf(variables map[string]any) string {
	var names []string
	for name, value := range variables {
		if value == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return fmt.Sprintf("; null are %q", names)
}
