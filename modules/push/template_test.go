package push

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"user-service/messaging"
)

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

func TestTemplatesOfAFolderReplaceTheBuiltInOnesAndKnowLanguages(t *testing.T) {
	t.Parallel()
	all := BuiltInTemplates()
	require.Empty(t, all.Add(fstest.MapFS{
		"welcome_notification.json":       file(`{"title": "Hello {{ name }}", "body": "{{if .vip}}Dear {{name}}{{else}}{{- name -}}{{end}}"}`),
		"welcome_notification.de.json":    file(`{"title": "Hallo {{name}}", "body": "{{.name}}"}`),
		"welcome_notification.pt-BR.json": file(`{"title": "Olá {{name}}", "body": "x"}`),
		"README.md":                       file("not a template"),
		"more/hidden.json":                file("not looked at"),
	}))
	for language, want := range map[string]string{
		"": "Hello Ada", "fr": "Hello Ada", "de": "Hallo Ada", "de-AT": "Hallo Ada", "DE-at-1996": "Hallo Ada", "pt": "Hello Ada", "pt-br": "Olá Ada",
		"-": "Hello Ada", "../../etc/passwd": "Hello Ada",
	} {
		text, err := all.render(t.Context(), "welcome_notification", language, map[string]any{"name": "Ada", "vip": false})
		require.NoError(t, err, language)
		require.Equal(t, want, text.Title, language)
	}
	text, err := all.render(t.Context(), "welcome_notification", "", map[string]any{"name": "Ada", "vip": true})
	require.NoError(t, err)
	require.Equal(t, "Dear Ada", text.Body)
	for code, variables := range map[string]map[string]any{
		"WELCOME_TEST": {"name": "Ada"}, "general_notification": {"title": "News", "body": "There are some."},
	} {
		text, err := all.render(t.Context(), code, "", variables)
		require.NoError(t, err)
		require.NotEmpty(t, text.Title+text.Body)
		_, err = all.render(t.Context(), code, "", nil)
		permanent := new(messaging.Permanent)
		require.ErrorAs(t, err, &permanent)
		require.Equal(t, "template_failed", permanent.Reason)
		require.Regexp(t, `the variable "(name|title)" is missing`, permanent.Detail)
	}
}

func TestVariableThatIsOnlyAskedForNeedNotBeThere(t *testing.T) {
	t.Parallel()
	all := Templates{}
	require.Empty(t, all.Add(fstest.MapFS{"code.json": file(`{"title": "{{with .link}}at {{.}}{{else}}nowhere{{if .vip}}, {{greeting}}{{end}}{{end}}", "body": "{{with .list}}{{if .inner}}{{end}}{{end}}{{name}}"}`)}))
	title := func(variables map[string]any) (string, error) {
		given := maps.Clone(variables)
		text, err := all.render(t.Context(), "code", "", variables)
		require.Equal(t, given, variables, "the producer's own are left as they are")
		return text.Title, err
	}
	for want, variables := range map[string]map[string]any{
		"nowhere": {"name": "Ada"}, "nowhere, dear": {"name": "Ada", "vip": true, "greeting": "dear"}, "at x": {"name": "Ada", "link": "x"},
	} {
		got, err := title(variables)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for source, want := range map[string]string{
		"{{if not .x}}a{{end}}": "a", "{{if and .y .x}}a{{else}}b{{end}}": "b", "{{if or .x .y}}a{{end}}": "a", "{{if .y}}{{if .x}}a{{else}}b{{end}}{{end}}": "b",
		"{{if .x}}{{end}}{{html .x}}": "", "{{if .x}}{{end}}{{printf \"%s\" .x}}": "", "{{if .x}}{{end}}{{range .x}}{{end}}": "", "{{if .x}}{{end}}{{x}}": "",
		"{{if eq .x \"a\"}}{{end}}": "", "{{with .x | html}}{{.}}{{end}}": "", "{{with .x | printf \"%s\"}}{{.}}{{end}}": "", "{{if .x | eq \"a\"}}{{end}}": "", "{{if .x | len}}{{end}}": "", "{{with .y}}{{if .x}}{{end}}{{end}}": "",
	} {
		all := Templates{}
		content, err := json.Marshal(map[string]string{"title": source, "body": "x"})
		require.NoError(t, err)
		require.Empty(t, all.Add(fstest.MapFS{"code.json": file(string(content))}))
		text, err := all.render(t.Context(), "code", "", map[string]any{"y": map[string]any{"z": 1}})
		if want == "" {
			require.ErrorContains(t, err, `the variable "x" is missing`, source)
		} else {
			require.NoError(t, err, source)
		}
		require.Equal(t, want, text.Title, source)
	}
	for fault, variables := range map[string]map[string]any{
		`the variable "name" is missing`: {"link": "x"}, `the variable "greeting" is missing`: {"name": "Ada", "vip": true},
		`the variable "inner" is missing`: {"name": "Ada", "list": map[string]any{"x": 1}},
	} {
		_, err := title(variables)
		require.ErrorContains(t, err, fault)
	}
}

func TestNullIsNotShown(t *testing.T) {
	t.Parallel()
	_, err := BuiltInTemplates().render(t.Context(), "welcome_notification", "", map[string]any{"name": nil, "other": nil})
	permanent := new(messaging.Permanent)
	require.ErrorAs(t, err, &permanent)
	require.Equal(t, "template_failed", permanent.Reason)
	require.Contains(t, permanent.Detail, `"name"`)
	_, err = BuiltInTemplates().render(t.Context(), "welcome_notification", "", map[string]any{"name": "Ada", "link": nil})
	require.NoError(t, err, "what is null and not shown is no fault")
}

func TestEveryFaultOfAFolderOfTemplatesIsNamed(t *testing.T) {
	t.Parallel()
	faults := BuiltInTemplates().Add(fstest.MapFS{
		"open.json": file(`{"title": "{{if}}", "body": "x"}`), "half.json": file(`{"title": "x"}`), "text.json": file("Hello"),
		"fine.json": file(`{"title": "x", "body": "y"}`),
	})
	for _, fault := range []string{"open.json: title: ", "half.json: has no title or no body", "text.json: is no JSON"} {
		require.Contains(t, fmt.Sprint(faults), fault)
	}
	require.Len(t, faults, 3)
	require.NotEmpty(t, BuiltInTemplates().Add(fstest.MapFS{"welcome_notification.json": &fstest.MapFile{Mode: 0, Data: nil}}))
}

// FuzzTemplate takes whatever an operator writes, and whatever a producer fills in.
func FuzzTemplate(f *testing.F) {
	for _, source := range []string{"Hello {{name}}", "{{ .name | printf \"%s\" }}", "{{if .vip}}Dear {{end}}", "{{range $i, $v := .list}}{{$v}}{{end}}", "{{", "{{template \"x\"}}", "{{.a.b.c}}", "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}"} {
		f.Add(source, []byte(`{"name": "Ada", "list": [1, "a", null], "vip": true, "a": {"b": {}}}`))
	}
	f.Fuzz(func(t *testing.T, source string, variables []byte) {
		content, err := json.Marshal(map[string]string{"title": source, "body": "x"})
		require.NoError(t, err)
		all := Templates{}
		if len(all.Add(fstest.MapFS{"code.json": file(string(content))})) > 0 {
			return
		}
		m := object{members: map[string]json.RawMessage{"variables": variables}}
		var values map[string]any
		if json.Valid(variables) {
			m.variables(&values)
		}
		if _, err = all.render(t.Context(), "code", "", values); err != nil {
			require.ErrorAs(t, err, new(*messaging.Permanent))
		}
	})
}
