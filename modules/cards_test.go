package modules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCardsTellTheTruth compares the card of each module, its package comment, with its code.
func TestCardsTellTheTruth(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	seen := 0
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		seen++
		t.Run(entry.Name(), func(t *testing.T) {
			t.Parallel()
			files := parse(t, entry.Name())
			card, code := readCard(t, files), readCode(files)
			require.Equal(t, "schema "+entry.Name(), card["Owns"])
			require.Equal(t, code.routes, routes(card["Serves"]), "Serves")
			for line, names := range map[string][]string{
				"Handles": code.handles, "Sends": code.sends, "Publishes": code.publishes, "Follows": code.follows,
			} {
				require.Equal(t, names, list(card[line]), line)
			}
		})
	}
	require.Equal(t, 4, seen)
}

func parse(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	return files
}

// cardLine goes on in lines that are indented further.
var cardLine = regexp.MustCompile(`(?m)^\s+(Owns|Serves|Handles|Sends|Publishes|Follows):\s+(.+(?:\n\t {5,}.+)*)$`)

func readCard(t *testing.T, files []*ast.File) map[string]string {
	t.Helper()
	card := map[string]string{}
	for _, file := range files {
		for _, match := range cardLine.FindAllStringSubmatch(file.Doc.Text(), -1) {
			card[match[1]] = strings.Join(strings.Fields(match[2]), " ")
		}
	}
	require.Len(t, card, 6, "the card has six lines")
	return card
}

// list reads `A, B` as sorted names, and `nothing` as none.
func list(line string) []string {
	var names []string
	for name := range strings.SplitSeq(line, ",") {
		if name = strings.TrimSpace(name); name != "nothing" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var servedGroup = regexp.MustCompile(`((?:[A-Z]+(?:, )?)+) (/\S+)(?: \(also (/\S+)\))?`)

// routes reads `GET, PATCH /a/ (also /b/), POST /c/` as sorted `METHOD path also`.
func routes(line string) []string {
	var out []string
	for _, group := range servedGroup.FindAllStringSubmatch(line, -1) {
		for method := range strings.SplitSeq(group[1], ", ") {
			out = append(out, strings.TrimSpace(method+" "+strings.TrimSuffix(group[2], ",")+" "+group[3]))
		}
	}
	slices.Sort(out)
	return out
}

// code is what the source of a module does.
type code struct{ routes, handles, sends, publishes, follows []string }

func readCode(files []*ast.File) code {
	var c code
	handlers := parameterTypes(files)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				switch selector(n.Type) {
				case "web.Endpoint":
					c.routes = append(c.routes, endpoint(n))
				default:
					if pkg, name, _ := strings.Cut(selector(n.Type), "."); pkg == "events" && name != "PushOutcome" && name != "Preferences" {
						c.publishes = append(c.publishes, name)
					} else if pkg == "commands" && name != "User" && name != "Preferences" {
						c.sends = append(c.sends, name)
					}
				}
			case *ast.CallExpr:
				switch selector(n.Fun) {
				case "messaging.Handle", "messaging.Answer":
					c.handles = append(c.handles, handlers[method(n.Args[1])])
				case "messaging.Follow", "messaging.FollowAll":
					c.follows = append(c.follows, handlers[method(n.Args[1])])
				}
			}
			return true
		})
	}
	for _, names := range []*[]string{&c.routes, &c.handles, &c.sends, &c.publishes, &c.follows} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return c
}

// parameterTypes gives, for each method, the message its second parameter points to, or many of them.
func parameterTypes(files []*ast.File) map[string]string {
	types := map[string]string{}
	for _, file := range files {
		for _, declaration := range file.Decls {
			fn, ok := declaration.(*ast.FuncDecl)
			if !ok || len(fn.Type.Params.List) != 2 {
				continue
			}
			second := fn.Type.Params.List[1].Type
			if many, ok := second.(*ast.ArrayType); ok {
				second = many.Elt
			}
			if pointer, ok := second.(*ast.StarExpr); ok {
				_, name, _ := strings.Cut(selector(pointer.X), ".")
				types[fn.Name.Name] = name
			}
		}
	}
	return types
}

// selector gives `pkg.Name`, also of a generic that is instantiated.
func selector(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IndexExpr:
		return selector(e.X)
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok {
			return pkg.Name + "." + e.Sel.Name
		}
	}
	return ""
}

func method(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

func endpoint(lit *ast.CompositeLit) string {
	fields := map[string]string{}
	for _, element := range lit.Elts {
		pair := element.(*ast.KeyValueExpr)
		if value, ok := pair.Value.(*ast.BasicLit); ok {
			fields[pair.Key.(*ast.Ident).Name], _ = strconv.Unquote(value.Value)
		}
	}
	return strings.TrimSpace(fields["Method"] + " " + fields["Path"] + " " + fields["Also"])
}
