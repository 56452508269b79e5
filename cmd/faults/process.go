package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"user-service/cmd/localstack/servers"
)

// process is one of the service's. Started again, it has the ports it had.
type process struct {
	name    string
	role    string // what it is started as: what is alike in all of one role
	path    string
	args    []string
	env     []string
	output  string
	address string // of its API
	metrics string

	cmd   *exec.Cmd
	ended chan struct{}
}

// newProcess describes one; redis is the way by which it gets there.
func (w *world) newProcess(name, role string, redis *link, args ...string) *process {
	ports := servers.ChoosePorts("rest", "metrics")
	at := func(port string) string { return "127.0.0.1:" + strconv.Itoa(ports[port]) }
	database := through(w.toPostgres, w.postgres.URL)
	query := database.Query()
	query.Set("application_name", name) // so that its connections can be told from others'
	database.RawQuery = query.Encode()
	return &process{
		name: name, role: role, path: w.binary, args: args, output: filepath.Join(w.dir, name+".log"), address: at("rest"), metrics: at("metrics"),
		env: append(w.provider.environment(),
			"DATABASE_URL="+database.String(), "REDIS_URL="+through(redis, w.redis.URL).String(), "RABBITMQ_URL="+through(w.toRabbitMQ, w.rabbitmq.URL).String(),
			"PORT="+strconv.Itoa(ports["rest"]), "METRICS_PORT="+strconv.Itoa(ports["metrics"]), "SECRET_KEY=only for faults, and so no secret at all", "RATE_LIMIT=off",
			"LOG_LEVEL=WARN", "PUSH_CONCURRENCY="+strconv.Itoa(concurrency), "PUSH_PREFETCH="+strconv.Itoa(2*concurrency), "PUSH_RETRY_STEPS="+retryStepsText()),
	}
}

// start runs it; what it says is added to its file.
func (p *process) start() {
	output := must(os.OpenFile(p.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600))
	defer func() { _ = output.Close() }()
	p.cmd, p.ended = exec.Command(p.path, p.args...), make(chan struct{})
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = filepath.Dir(p.output), p.env, output, output
	check(p.cmd.Start())
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(p.cmd, p.ended)
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill is the end that nobody is told of.
func (p *process) kill() {
	if p.running() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// terminate asks for an orderly end, and wants it in the time that is promised.
func (p *process) terminate() {
	begin := time.Now()
	check(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.kill()
		check(fmt.Errorf("%s did not end within 20 s of SIGTERM", p.name))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		check(fmt.Errorf("%s ended with %d after SIGTERM and %s", p.name, code, time.Since(begin).Round(time.Millisecond)))
	}
}

func (p *process) freeze() { check(p.cmd.Process.Signal(syscall.SIGSTOP)) }
func (p *process) thaw()   { check(p.cmd.Process.Signal(syscall.SIGCONT)) }

// ready waits until it says that it can do its part.
func (p *process) ready(ctx context.Context) {
	await(ctx, time.Minute, p.name+" is ready", func() bool {
		if !p.running() {
			check(fmt.Errorf("%s ended: %s", p.name, p.lastWords()))
		}
		_, err := p.ask(ctx, "/health/ready/")
		return err == nil
	})
}

// lastWords are what it said last, where somebody kept it.
func (p *process) lastWords() string {
	info, err := os.Stat(p.output)
	if err != nil || !info.Mode().IsRegular() {
		return "nobody knows why"
	}
	said, _ := os.ReadFile(p.output)
	return string(said[max(0, len(said)-2000):])
}

// date is what it takes the time to be.
func (p *process) date(ctx context.Context) time.Time {
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/health/live/", nil))
	resp, err := http.DefaultClient.Do(req)
	check(err)
	check(resp.Body.Close())
	return must(http.ParseTime(resp.Header.Get("Date")))
}

// ask reads what it tells operators.
func (p *process) ask(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+path, nil))
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// goroutines is how many it has, -1 when it does not say.
func (p *process) goroutines(ctx context.Context) int {
	text, _ := p.ask(ctx, "/metrics")
	_, rest, found := strings.Cut(text, "\ngo_goroutines ")
	line, _, _ := strings.Cut(rest, "\n")
	if n, err := strconv.Atoi(line); found && err == nil {
		return n
	}
	return -1
}

// resident is the memory in use, in MiB; 0 where the system does not tell it by /proc.
func (p *process) resident() float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.ParseFloat(kib, 64)
	return n / 1024
}
