package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// linesEvery is how often a line is written where nobody watches a bar.
const linesEvery = 5 * time.Second

// progress shows how far something has come: a bar on a terminal, elsewhere a line now and then.
type progress struct {
	out     *os.File
	total   int
	unit    string
	bar     *progressbar.ProgressBar // nil where it would fill a file
	written time.Time
}

func newProgress(out *os.File, total int, doing, unit string) *progress {
	p := &progress{out: out, total: total, unit: unit}
	if term.IsTerminal(int(out.Fd())) {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(doing),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetRenderBlankState(true))
	}
	return p
}

func (p *progress) at(seen int) {
	if p.bar != nil {
		_ = p.bar.Set(seen)
	} else if time.Since(p.written) > linesEvery || seen == p.total {
		p.written = time.Now()
		fmt.Fprintf(p.out, "%d of %d %s\n", seen, p.total, p.unit)
	}
}

// end leaves the bar where it is.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.out)
	}
}
