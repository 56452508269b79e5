package main

import (
	"cmp"
	"os"
	"strings"
	"unicode"

	"user-service/cmd/localstack/servers"
)

const managementVariable = "RABBITMQ_MANAGEMENT_URL"

// variables are the environment of a program that uses the servers.
type variables map[string]string

// given starts with what the caller's environment says.
func given(secretKey string) variables {
	v := variables{
		"PORT":       cmp.Or(os.Getenv("PORT"), "8000"),
		"SECRET_KEY": cmp.Or(os.Getenv("SECRET_KEY"), secretKey),
	}
	for _, k := range servers.Kinds {
		v[k.Variable] = os.Getenv(k.Variable)
	}
	return v
}

func (v variables) url(k *servers.Kind) string { return v[k.Variable] }

func (v variables) set(k *servers.Kind, url, managementURL string) {
	v[k.Variable] = url
	if managementURL != "" {
		v[managementVariable] = managementURL
	}
}

// environ is the caller's environment with the variables it lacks.
func (v variables) environ() []string {
	env := os.Environ()
	for name, value := range v {
		if os.Getenv(name) == "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// writeFile writes what clients and tools need.
func (v variables) writeFile(path string) error {
	var text strings.Builder
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "PORT", "SECRET_KEY"} {
		text.WriteString(name + "=" + shellQuoted(v[name]) + "\n")
	}
	return servers.WriteFile(path, []byte(text.String()))
}

// shellQuoted leaves a value as it is unless a shell that reads the file would change it.
func shellQuoted(value string) string {
	if !strings.ContainsFunc(value, func(r rune) bool {
		return !strings.ContainsRune("_-./:@%?=,+~", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
