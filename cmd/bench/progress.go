package main

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// showProgress gives a function that shows how far something has come: by a bar on a terminal,
// elsewhere by a line for each tenth.
func showProgress(total int, doing string) func(done int) {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stdout), progressbar.OptionSetDescription(doing),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetRenderBlankState(true),
			progressbar.OptionOnCompletion(func() { fmt.Println() }))
		return func(done int) { _ = bar.Set(done) }
	}
	tenths := 0
	return func(done int) {
		if now := 10 * done / total; now > tenths {
			tenths = now
			fmt.Printf("%s: %d of %d\n", doing, done, total)
		}
	}
}
