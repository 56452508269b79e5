// Command lint checks compose.yaml and the Dockerfile without a Docker engine, with the code the engine itself uses:
// compose-go, which Docker Compose loads its files with, and the linter of BuildKit.
//
// It is a module of its own, so that the service does not depend on either.
//
//	cd docker/lint && go run . ../..
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lint ROOT-OF-THE-REPOSITORY")
		os.Exit(2)
	}
	findings, err := lint(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}

// lint returns one line for each fault of the two files, and an error when it could not look at them.
func lint(ctx context.Context, root string) ([]string, error) {
	var findings []string
	for _, check := range []struct {
		file string
		lint func(ctx context.Context, path string, content []byte) []string
	}{
		{"docker/compose.yaml", lintCompose},
		{"docker/Dockerfile", lintDockerfile},
	} {
		path, err := filepath.Abs(filepath.Join(root, check.file))
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, fault := range check.lint(ctx, path, content) {
			findings = append(findings, check.file+": "+fault)
		}
	}
	return findings, nil
}
