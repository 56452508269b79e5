package modules_test

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goPackage is what `go list` tells of a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

const project = "user-service"

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", project+"/...")
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		require.NoError(t, decoder.Decode(&p))
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

// within tells whether an import path lies in a folder of the project.
func within(importPath, folder string) bool {
	whole := path.Join(project, folder)
	return importPath == whole || strings.HasPrefix(importPath, whole+"/")
}

// layer gives the highest folder that importPath may not be above: cmd → modules → messaging → platform.
func layer(importPath string) int {
	return slices.IndexFunc([]string{"platform", "messaging", "modules", "cmd"}, func(folder string) bool { return within(importPath, folder) })
}

func TestImportsGoDownOnly(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, project+"/") && layer(imported) >= 0 {
				require.LessOrEqual(t, layer(imported), layer(p.ImportPath), "%s must not import %s", p.ImportPath, imported)
			}
		}
	}
}

func TestModulesNeverImportEachOther(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		module, rest, found := strings.Cut(strings.TrimPrefix(p.ImportPath, project+"/modules/"), "/")
		if !within(p.ImportPath, "modules") || module == "" || (found && rest == "") {
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if within(imported, "modules") {
				require.True(t, within(imported, "modules/"+module), "%s must not import %s", p.ImportPath, imported)
			}
		}
	}
}

func TestMessagesAreTheOnlyThingModulesShare(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if !within(p.ImportPath, "messaging/commands") && !within(p.ImportPath, "messaging/events") {
			continue
		}
		for _, imported := range p.Imports {
			require.False(t, strings.HasPrefix(imported, project), "%s must import nothing of ours, not %s", p.ImportPath, imported)
		}
	}
}

// only lists who may know a library.
var only = []struct {
	library string
	folders []string
}{
	{"github.com/ThreeDotsLabs/", []string{"messaging"}},
	{"github.com/rabbitmq/", []string{"messaging", "cmd"}},
	{"github.com/lib/pq", []string{"platform/postgres", "cmd/localstack"}},
	{"github.com/jmoiron/sqlx", []string{"platform/postgres"}},
	{"github.com/redis/", []string{"platform/cache", "platform/ratelimit", "cmd/localstack"}},
	{"github.com/go-redis/", []string{"platform/ratelimit"}},
	{"github.com/gorilla/mux", []string{"platform/web"}},
	{"github.com/golang-jwt/", []string{"modules/auth", "modules/push"}},
	{"golang.org/x/oauth2", []string{"modules/push"}},
	{"github.com/schollz/progressbar/", []string{"cmd/user-service"}},
	{"github.com/creack/pty", []string{"cmd/user-service"}},
	{"golang.org/x/term", []string{"cmd/user-service"}},
	{"github.com/wneessen/go-mail", []string{"platform/mail"}},
	{"golang.org/x/crypto/", []string{"modules/auth", "platform/argon2"}},
	{"golang.org/x/sys/", []string{"modules/auth", "platform/argon2"}},
	{"user-service/platform/argon2", []string{"modules/auth"}},
}

func TestEachLibraryIsKnownInOnePlace(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if within(p.ImportPath, "cmd/bench") {
			continue // a floor is the least code that could do the job, in one place
		}
		for _, imported := range p.Imports {
			for _, rule := range only {
				if strings.HasPrefix(imported, rule.library) {
					allowed := slices.ContainsFunc(rule.folders, func(folder string) bool { return within(p.ImportPath, folder) })
					require.True(t, allowed, "%s must not import %s", p.ImportPath, imported)
				}
			}
		}
	}
}

// schema finds `schema.name` in SQL.
var schema = regexp.MustCompile(`\b(auth|profile|preferences|push|messaging|cache)\.[a-z_]+`)

func TestSQLOfAModuleNamesOnlyItsOwnSchema(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	found := 0
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		for _, file := range parse(t, entry.Name()) {
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					for _, match := range schema.FindAllStringSubmatch(lit.Value, -1) {
						found++
						require.Equal(t, entry.Name(), match[1], "%s names %s", entry.Name(), match[0])
					}
				}
				return true
			})
		}
	}
	require.Greater(t, found, 20, "the pattern finds no SQL any more")
}

func TestOnlyProgramsKnowTheMigrations(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if !within(p.ImportPath, "cmd") {
			require.NotContains(t, p.Imports, project+"/migrations", p.ImportPath)
		}
	}
}

func TestNothingElseStandsAtTheTop(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	known := []string{"modules", "platform", "messaging", "cmd", "migrations", "docker", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "bin"}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			require.Contains(t, known, entry.Name())
		}
	}
}
