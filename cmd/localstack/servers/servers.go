// Package servers runs private PostgreSQL, Redis and RabbitMQ servers for development and tests.
//
// Each server lives in a folder of its own, listens on loopback only, on ports and with a password that
// are kept in that folder, and survives the process that started it. Starting it again re-uses it if it is
// still up. Root hands the servers to an unprivileged account. Nothing outside the folder is changed,
// except that a folder this account cannot reach is replaced by one under the temporary directory.
package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Options say where a server lives and how it is run.
type Options struct {
	Dir    string              // folder of the server; made if absent, deleted by Instance.Remove
	Fast   bool                // give up durability for speed, for tests
	Report func(status string) // told what a slow start is doing; may be nil
}

// StartPostgres makes a private PostgreSQL ready, with a database and a superuser to log in with.
func StartPostgres(ctx context.Context, o Options) (*Instance, error) { return Postgres.Start(ctx, o) }

// StartRedis makes a private Redis ready. It keeps nothing on disk.
func StartRedis(ctx context.Context, o Options) (*Instance, error) { return Redis.Start(ctx, o) }

// StartRabbitMQ makes a private RabbitMQ ready, with its management API and an administrator.
func StartRabbitMQ(ctx context.Context, o Options) (*Instance, error) { return RabbitMQ.Start(ctx, o) }

// Kinds are all kinds of server, in the order in which they are shown.
var Kinds = []*Kind{Postgres, Redis, RabbitMQ}

// Kind is one of the three servers: what they differ in.
type Kind struct {
	Name     string // also the name of its folder and compose service
	Variable string // environment variable with the URL
	Package  string // Debian package
	Minimum  string // oldest version supported

	candidates func() []Binary                        // what is on the machine, any version
	series     func(version string) string            // versions of one series read each other's data
	ports      []string                               // names of the ports it needs; the first is the server's
	stopSignal syscall.Signal                         // asks for an orderly stop
	prepare    func(context.Context, *Instance) error // writes data and configuration before a start
	commands   func(*Instance) []command              // what to run, in order
	url        func(*Instance) string
	login      func(context.Context, *Instance) error // proves that it is up and ours
	check      func(ctx context.Context, url string) error
}

// Check logs in at a URL that was given, as the only proof that a server is there and usable.
// Its error is one line without the password.
func (k *Kind) Check(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return redact(k.check(ctx, url), url)
}

// Start makes the server of a folder ready: re-uses it if it is up, else starts it from the binaries on
// the machine. If a port was taken in the meantime it chooses others, once.
func (k *Kind) Start(ctx context.Context, o Options) (*Instance, error) {
	i, err := k.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	i.rec.Fast = o.Fast || i.Running() && i.rec.Fast
	if o.Report != nil {
		i.report = o.Report
	}
	if i.Running() {
		i.report("waiting until it answers")
		if i.ready(ctx, 20*time.Second) == nil {
			i.Reused = true
			return i, nil
		}
	}
	if err := i.Stop(ctx); err != nil { // what is left of an earlier start
		return nil, err
	}
	if i.binary, err = k.Find(k.series(i.Version)); err != nil {
		return nil, err
	}
	if err := i.settle(); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", k.Name, err)
	}
	if len(i.rec.Ports) == 0 || !free(i.rec.Ports) {
		i.rec.Ports = ChoosePorts(k.ports...)
	}
	err = i.launch(ctx)
	if err != nil && ctx.Err() == nil && !free(i.rec.Ports) {
		i.rec.Ports = ChoosePorts(k.ports...)
		err = i.launch(ctx)
	}
	return i, err
}

// Instance is one server and its folder. It is not for concurrent use.
type Instance struct {
	URL           string // what a client needs to log in
	ManagementURL string // RabbitMQ only: HTTP API, with user and password
	Addr          string // host:port
	Version       string
	Reused        bool // it was up before the call to Start

	kind   *Kind
	dir    string
	binary Binary
	rec    record
	report func(status string)
}

// Open reads what is known of the server in a folder, without starting anything. A folder without a
// server, or that does not exist, is a server that never ran.
func (k *Kind) Open(dir string) (*Instance, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	rec, err := loadRecord(dir)
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", k.Name, err)
	}
	i := &Instance{kind: k, dir: dir, rec: rec, report: func(string) {}}
	i.describe()
	return i, nil
}

// describe fills the exported fields from the record.
func (i *Instance) describe() {
	i.Version = i.rec.Version
	if len(i.rec.Ports) == 0 {
		return
	}
	i.Addr = fmt.Sprintf("127.0.0.1:%d", i.port(i.kind.ports[0]))
	i.URL = i.kind.url(i)
	if i.rec.Ports["management"] != 0 {
		i.ManagementURL = managementURL(i)
	}
}

func (i *Instance) port(name string) int { return i.rec.Ports[name] }

// Running tells whether all processes of the server are alive. It may still not answer.
func (i *Instance) Running() bool {
	for _, p := range i.rec.Processes {
		if !p.Alive() {
			return false
		}
	}
	return len(i.rec.Processes) > 0
}

// Leftover tells whether any process of the server is alive.
func (i *Instance) Leftover() bool {
	return slices.ContainsFunc(i.rec.Processes, Process.Alive)
}

// PID is the process id of the server, 0 if it does not run.
func (i *Instance) PID() int {
	if !i.Running() {
		return 0
	}
	return i.rec.Processes[len(i.rec.Processes)-1].PID
}

// Ready tells by a login whether the server is up.
func (i *Instance) Ready(ctx context.Context) error {
	if !i.Running() {
		return errors.New("not running")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return redact(i.kind.login(ctx, i), i.URL)
}

// ready waits until the server answers, one of its processes dies, or the time is over.
func (i *Instance) ready(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := i.Ready(ctx)
		if err == nil || !i.Running() {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", cmp.Or(err, ctx.Err()))
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// Restart starts a stopped or killed server again, on the same ports and with its data.
func (i *Instance) Restart(ctx context.Context) error {
	if err := i.Stop(ctx); err != nil {
		return err
	}
	if err := i.locate(); err != nil {
		return err
	}
	return i.launch(ctx)
}

// locate finds the program of a server that was up already.
func (i *Instance) locate() (err error) {
	if i.binary.Path == "" {
		i.binary, err = i.kind.Find(i.kind.series(i.Version))
	}
	return err
}

// Stop ends the server in an orderly way, and by force if it takes too long or the context is done. Data,
// ports and password are kept.
func (i *Instance) Stop(ctx context.Context) error {
	grace := 30 * time.Second
	if i.rec.Fast {
		// RabbitMQ before 3.13, having written all there is to write, sleeps five seconds.
		grace = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for n, p := range slices.Backward(i.rec.Processes) {
		p.stop(ctx, i.kind.stopSignal)
		i.rec.Processes = i.rec.Processes[:n]
		if err := i.save(); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends the server and all its helpers at once, like a crash.
func (i *Instance) Kill() error {
	i.kill()
	return i.save()
}

func (i *Instance) kill() {
	for _, p := range i.rec.Processes {
		p.killTree()
	}
	i.rec.Processes = nil
}

// Remove kills the server and deletes its folder.
func (i *Instance) Remove() error {
	i.kill()
	if i.rec.Elsewhere != "" {
		if err := os.RemoveAll(i.rec.Elsewhere); err != nil {
			return err
		}
	}
	return os.RemoveAll(i.dir)
}
