// Package migrations holds the steps of the database, embedded in the binary. A step that has
// landed is never edited.
package migrations

import "embed"

// Files are the steps, in the format of goose.
//
//go:embed *.sql
var Files embed.FS
