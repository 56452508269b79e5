package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress tells what happens: one line per step that is done, and for the steps that take long the
// seconds passed – in place on a terminal, elsewhere as a line every five seconds.
type progress struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	tasks    []*task
	shown    time.Time // of the last interim line
	ticking  bool
}

// task is a step under way.
type task struct {
	out     *progress
	name    string
	status  string
	started time.Time
}

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	return &progress{w: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"}
}

// say prints a line between the steps.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(line)
}

func (p *progress) print(line string) {
	if p.terminal {
		line = "\r\x1b[K" + line
	}
	fmt.Fprintln(p.w, line)
}

func (p *progress) begin(name string) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &task{out: p, name: name, started: time.Now()}
	if len(p.tasks) == 0 {
		p.shown = t.started
	}
	p.tasks = append(p.tasks, t)
	if !p.ticking {
		p.ticking = true
		go p.tick()
	}
	return t
}

// tick shows the steps under way until there are none.
func (p *progress) tick() {
	every := 5 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	for range time.Tick(every / 5) {
		p.mu.Lock()
		if len(p.tasks) == 0 {
			p.ticking = false
			p.mu.Unlock()
			return
		}
		if time.Since(p.shown) >= every {
			p.shown = time.Now()
			p.showTasks()
		}
		p.mu.Unlock()
	}
}

func (p *progress) showTasks() {
	var parts []string
	for _, t := range p.tasks {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", t.name, t.status))+fmt.Sprintf(" %.0f s", time.Since(t.started).Seconds()))
	}
	line := "… " + strings.Join(parts, " · ")
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

func (t *task) report(status string) {
	t.out.mu.Lock()
	defer t.out.mu.Unlock()
	t.status = status
}

func (t *task) done(version, result string) {
	t.out.mu.Lock()
	defer t.out.mu.Unlock()
	t.remove()
	t.out.print(fmt.Sprintf("%-9s %-9s %s  (%.1f s)", t.name, version, result, time.Since(t.started).Seconds()))
}

// drop ends a step that failed; the error is told elsewhere.
func (t *task) drop() {
	t.out.mu.Lock()
	defer t.out.mu.Unlock()
	t.remove()
	if t.out.terminal {
		fmt.Fprint(t.out.w, "\r\x1b[K")
	}
}

func (t *task) remove() {
	for n := range t.out.tasks {
		if t.out.tasks[n] == t {
			t.out.tasks = append(t.out.tasks[:n], t.out.tasks[n+1:]...)
			return
		}
	}
}
