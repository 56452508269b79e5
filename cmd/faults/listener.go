package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// event is a domain event as a sibling service gets it.
type event struct {
	ID, Source, Subject, Type, Sequence string
	Time                                time.Time
	Data                                struct {
		RequestID string `json:"request_id"`
		Email     any    // an address, or whether mails may come
		Push      bool
		Name      string
	}
}

func (e event) number() int {
	n, _ := strconv.Atoi(e.Sequence)
	return n
}

// listener is a reference consumer, as siblings copy it, in a process of its own: it prints an event a
// line, each once and in order.
type listener struct {
	name  string
	queue string
	cmd   *exec.Cmd
	done  chan struct{} // all it printed was read

	mu     sync.Mutex
	events []event
	heard  map[string]bool // marks, see mark
	fault  error           // a line that is no event
}

// listen starts a consumer with a queue of its own.
func (w *world) listen(name, queue string, cmd *exec.Cmd) *listener {
	l := &listener{name: name, queue: queue, cmd: cmd, heard: map[string]bool{}, done: make(chan struct{})}
	log := must(os.Create(filepath.Join(w.dir, name+".log")))
	cmd.Args = append(cmd.Args, queue)
	cmd.Env, cmd.Stderr = append(os.Environ(), "RABBITMQ_URL="+w.rabbitmq.URL), log
	printed := must(cmd.StdoutPipe())
	check(cmd.Start())
	go func() {
		defer close(l.done)
		l.read(printed)
		_ = cmd.Wait()
		_ = log.Close()
	}()
	return l
}

func (l *listener) read(printed io.Reader) {
	lines := bufio.NewScanner(printed)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		err := json.Unmarshal(lines.Bytes(), &e)
		l.mu.Lock()
		if err != nil {
			l.fault = fmt.Errorf("%s printed %q", l.name, lines.Bytes())
		}
		l.events = append(l.events, e)
		if e.Type != "push.retried" { // no probe waits for that
			l.heard[mark(e)] = true
		}
		l.mu.Unlock()
	}
}

// mark tells what a probe waits for apart from all else.
func mark(e event) string {
	if e.Data.RequestID != "" {
		return e.Data.RequestID
	}
	return e.Subject + " " + e.Data.Name
}

func (l *listener) has(mark string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[mark]
}

// all is what was heard so far.
func (l *listener) all() ([]event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events, l.fault
}

func (l *listener) close() {
	_ = l.cmd.Process.Kill()
	<-l.done
}

// openListeners starts the consumer in Go, and the one for Node where that is there. Each has bound its
// queue before anything happens that it would miss.
func (w *world) openListeners(ctx context.Context) {
	examples := filepath.Join(w.module, "docker", "examples")
	program := filepath.Join(w.dir, "consumer")
	build := w.command(ctx, "go", "build", "-o", program, ".")
	build.Dir, build.Env = filepath.Join(examples, "go"), append(os.Environ(), "CGO_ENABLED=0")
	check(build.Run())
	w.listeners = append(w.listeners, w.listen("events-go", "faults.go", exec.Command(program)))
	if _, err := exec.LookPath("npm"); err == nil {
		folder := filepath.Join(w.dir, "node")
		check(os.RemoveAll(folder))
		check(os.CopyFS(folder, os.DirFS(filepath.Join(examples, "node"))))
		install := w.command(ctx, "npm", "ci", "--no-audit", "--no-fund", "--silent")
		install.Dir = folder
		check(install.Run())
		node := exec.Command("node", "consumer.js")
		node.Dir = folder
		w.listeners = append(w.listeners, w.listen("events-node", "faults.node", node))
	} else {
		fmt.Println("npm is not there: without the consumer for Node")
	}
	for _, l := range w.listeners {
		await(ctx, time.Minute, l.name+" consumes", func() bool {
			_, consumers := w.depth(l.queue)
			return consumers == 1
		})
	}
}

// command is a tool whose complaints are shown.
func (*world) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c
}
