package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLintCompose(t *testing.T) {
	healthy := "healthcheck: {test: [CMD, 'true']}"
	for name, test := range map[string]struct {
		file string
		want string // a part of the only fault; empty: none
	}{
		"a good file":         {"services: {a: {image: 'redis:8', ports: ['127.0.0.1:1:1'], " + healthy + "}}", ""},
		"not YAML":            {"services: [", "yaml"},
		"unknown attribute":   {"services: {a: {image: 'redis:8', imagee: b, " + healthy + "}}", "imagee"},
		"unset variable":      {"services: {a: {image: 'redis:8', hostname: '$HOST', " + healthy + "}}", `"HOST" variable is not set`},
		"obsolete version":    {"version: '3'\nservices: {a: {image: 'redis:8', " + healthy + "}}", "obsolete"},
		"unknown dependency":  {"services: {a: {image: 'redis:8', depends_on: [b], " + healthy + "}}", "undefined service"},
		"unknown volume":      {"services: {a: {image: 'redis:8', volumes: ['data:/v'], " + healthy + "}}", "undefined volume"},
		"no tag":              {"services: {a: {image: redis, " + healthy + "}}", "no fixed tag"},
		"latest":              {"services: {a: {image: 'redis:latest', " + healthy + "}}", "no fixed tag"},
		"open port":           {"services: {a: {image: 'redis:8', ports: ['1:1'], " + healthy + "}}", "beyond 127.0.0.1"},
		"no health check":     {"services: {a: {image: 'redis:8'}}", "no health check"},
		"disabled check":      {"services: {a: {image: 'redis:8', healthcheck: {disable: true}}}", "no health check"},
		"fault in a profile":  {"services: {a: {image: 'redis:8', " + healthy + "}, b: {profiles: [p], image: redis, " + healthy + "}}", "b: image"},
		"one shot":            {"services: {a: {image: 'redis:8', depends_on: {b: {condition: service_completed_successfully}}, " + healthy + "}, b: {image: 'redis:8'}}", ""},
		"demand of a profile": {"services: {a: {image: 'redis:8', " + healthy + "}, b: {profiles: [p], image: 'redis:${V:?set V}', " + healthy + "}}", "set V"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFault(t, lintCompose(t.Context(), filepath.Join(t.TempDir(), "compose.yaml"), []byte(test.file)), test.want)
		})
	}
}

func TestLintDockerfile(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want string
	}{
		"a good file":         {"FROM alpine:3 AS a\nFROM scratch\nCOPY --from=a /x /x\nCMD [\"/x\"]\n", ""},
		"unknown instruction": {"FROM alpine:3\nRUM true\n", "unknown instruction: RUM"},
		"unknown flag":        {"FROM alpine:3\nCOPY --form=a /x /x\n", "unknown flag"},
		"no tag":              {"FROM alpine\n", "no fixed tag"},
		"mixed case":          {"FROM alpine:3 as a\n", "line 1: FromAsCasing"},
		"shell form":          {"FROM alpine:3\nCMD /x\n", "line 2: JSONArgsRecommended"},
		"undefined variable":  {"FROM alpine:3\nCOPY $x /x\n", "line 2: UndefinedVar"},
		"secret":              {"FROM alpine:3\nENV API_TOKEN=x\n", "line 2: SecretsUsedInArgOrEnv"},
		"two commands":        {"FROM alpine:3\nCMD [\"a\"]\nCMD [\"b\"]\n", "MultipleInstructionsDisallowed"},
		"warnings as errors":  {"# check=error=true\nFROM alpine:3 as a\n", "FromAsCasing"},
		"fault in any stage":  {"FROM alpine:3 AS a\nCMD /x\nFROM scratch\nCOPY /y /y\n", "line 2: JSONArgsRecommended"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFault(t, lintDockerfile(t.Context(), "Dockerfile", []byte(test.file)), test.want)
		})
	}
}

func wantFault(t *testing.T, faults []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(faults) > 0:
		t.Errorf("faults in a good file: %q", faults)
	case want != "" && (len(faults) != 1 || !strings.Contains(faults[0], want)):
		t.Errorf("faults: %q, want one with %q", faults, want)
	}
}
