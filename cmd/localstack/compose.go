package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"user-service/cmd/localstack/servers"
)

// composeFile is searched from the working directory upwards.
const composeFile = "docker/compose.yaml"

// project is a Docker Compose project with some of the servers.
type project struct {
	Name     string         `json:"name"`
	File     string         `json:"file"`
	Services []string       `json:"services"`
	Ports    map[string]int `json:"ports"`
	Password string         `json:"password"`
}

func (p *project) has(k *servers.Kind) bool { return p != nil && slices.Contains(p.Services, k.Name) }

func (p *project) addr(k *servers.Kind) string { return fmt.Sprintf("127.0.0.1:%d", p.Ports[k.Name]) }

func (p *project) url(k *servers.Kind) string {
	switch k {
	case servers.Postgres:
		return fmt.Sprintf("postgres://postgres:%s@%s/user_service_db?sslmode=disable", p.Password, p.addr(k))
	case servers.Redis:
		return fmt.Sprintf("redis://:%s@%s/0", p.Password, p.addr(k))
	default:
		return fmt.Sprintf("amqp://user_service:%s@%s/%%2F", p.Password, p.addr(k))
	}
}

func (p *project) managementURL(k *servers.Kind) string {
	if k != servers.RabbitMQ {
		return ""
	}
	return fmt.Sprintf("http://user_service:%s@127.0.0.1:%d", p.Password, p.Ports["management"])
}

// environ is what the compose file takes its ports, names and passwords from.
func (p *project) environ() []string {
	return append(os.Environ(),
		"POSTGRES_PORT="+strconv.Itoa(p.Ports["postgres"]), "POSTGRES_USER=postgres",
		"POSTGRES_DB=user_service_db", "POSTGRES_PASSWORD="+p.Password,
		"REDIS_PORT="+strconv.Itoa(p.Ports["redis"]), "REDIS_PASSWORD="+p.Password,
		"RABBITMQ_PORT="+strconv.Itoa(p.Ports["rabbitmq"]), "RABBITMQ_USER=user_service",
		"RABBITMQ_PASSWORD="+p.Password, "RABBITMQ_MANAGEMENT_PORT="+strconv.Itoa(p.Ports["management"]))
}

func (p *project) run(ctx context.Context, log io.Writer, args ...string) error {
	all := []string{"compose", "-p", p.Name}
	if _, err := os.Stat(p.File); err == nil { // `down` works without it
		all = append(all, "-f", p.File)
	}
	cmd := exec.CommandContext(ctx, "docker", append(all, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.environ(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a second Ctrl-C must not stop it stopping
	return cmd.Run()
}

// compose starts the missing servers with Docker and returns those that are up: all or none. Without an
// engine, or if it fails, others may find another way.
func (s *stack) compose(ctx context.Context, st *state, missing []*servers.Kind) ([]*servers.Kind, error) {
	file := findUpwards(composeFile)
	if st.Compose == nil && (file == "" || !engineAnswers(ctx)) {
		return nil, nil
	}
	task := s.out.begin("docker")
	if st.Compose != nil && !slices.ContainsFunc(missing, func(k *servers.Kind) bool {
		return !st.Compose.has(k) || k.Check(ctx, st.Compose.url(k)) != nil
	}) {
		task.done("", "already up: "+names(missing))
		return missing, nil
	}
	task.report("compose up " + names(missing))
	if st.Compose == nil {
		st.Compose = &project{
			Name: fmt.Sprintf("localstack-%x", sha256.Sum256([]byte(s.dir)))[:20], File: file,
			Ports: servers.ChoosePorts("postgres", "redis", "rabbitmq", "management"), Password: servers.Secret(),
		}
	}
	st.Compose.Services = strings.Fields(names(missing))
	if err := s.save(*st); err != nil {
		return nil, err
	}
	if err := s.composeUp(ctx, st.Compose, missing); err != nil {
		task.drop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.out.say(fmt.Sprintf("docker compose failed (%v, see %s): going on without Docker", err, s.composeLog()))
		if err := s.composeDown(ctx, st, true); err != nil {
			s.out.say(err.Error())
		}
		st.Compose = nil
		return nil, s.save(*st)
	}
	task.done("", "ready: "+names(missing))
	return missing, nil
}

func (s *stack) composeLog() string { return filepath.Join(s.dir, "compose.log") }

func (s *stack) composeUp(ctx context.Context, p *project, kinds []*servers.Kind) error {
	log, err := os.OpenFile(s.composeLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := p.run(ctx, log, append([]string{"up", "-d", "--wait"}, p.Services...)...); err != nil {
		return err
	}
	for _, k := range kinds {
		// A health check may be satisfied before the port is.
		for patience := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			err := k.Check(ctx, p.url(k))
			if err == nil {
				break
			}
			if ctx.Err() != nil || time.Now().After(patience) {
				return fmt.Errorf("%s: %w", k.Name, err)
			}
		}
	}
	return nil
}

// composeDown removes the containers, and with wipe their data and all memory of them.
func (s *stack) composeDown(ctx context.Context, st *state, wipe bool) error {
	args := []string{"down"}
	if wipe {
		args = append(args, "-v")
	}
	log, err := os.OpenFile(s.composeLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := st.Compose.run(ctx, log, args...); err != nil {
		return fmt.Errorf("docker compose down: %w (see %s)", err, s.composeLog())
	}
	if wipe {
		st.Compose = nil
	}
	return s.save(*st)
}

func engineAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "docker", "compose", "version").Run() == nil &&
		exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").Run() == nil
}

func findUpwards(name string) string {
	dir, err := os.Getwd()
	for err == nil {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

func names(kinds []*servers.Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.Name)
	}
	return strings.Join(all, " ")
}
