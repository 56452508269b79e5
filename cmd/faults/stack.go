package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"user-service/cmd/localstack/servers" // brings the driver "postgres"
)

// stack is the servers, which keep their promises of durability, and the ways to them.
type stack struct {
	postgres, redis, rabbitmq *servers.Instance
	toPostgres, toRabbitMQ    *link
	toRedis                   [2]*link // of the first API, and of everybody else

	db *sql.DB // past the link
}

func (s *stack) open(ctx context.Context, dir string) {
	install(ctx, dir)
	start := func(kind *servers.Kind) *servers.Instance {
		folder := filepath.Join(dir, kind.Name)
		check(must(kind.Open(folder)).Remove()) // of a run that was killed
		return must(kind.Start(ctx, servers.Options{Dir: folder}))
	}
	fmt.Println("starting PostgreSQL, Redis and RabbitMQ, durable")
	s.postgres, s.redis, s.rabbitmq = start(servers.Postgres), start(servers.Redis), start(servers.RabbitMQ)
	s.toPostgres, s.toRabbitMQ = newLink(s.postgres.Addr), newLink(s.rabbitmq.Addr)
	s.toRedis = [2]*link{newLink(s.redis.Addr), newLink(s.redis.Addr)}
	s.db = must(sql.Open("postgres", s.postgres.URL))
	s.db.SetMaxOpenConns(4)
}

// install gets what is not on the machine. Servers in containers would not do: nobody can kill them as a
// crash does.
func install(ctx context.Context, dir string) {
	missing := slices.DeleteFunc(slices.Clone(servers.Kinds), func(k *servers.Kind) bool {
		_, err := k.Find("")
		return err == nil
	})
	if len(missing) == 0 {
		return
	}
	if !servers.CanInstall() {
		check(fmt.Errorf("install the packages %s, or run this as root on a machine with apt-get", strings.Join(servers.Packages(missing), " ")))
	}
	fmt.Println("installing", strings.Join(servers.Packages(missing), " "))
	check(servers.Install(ctx, missing, filepath.Join(dir, "apt.log"), func(string) {}))
}

// close leaves no server behind.
func (s *stack) close() {
	if s.db != nil {
		_ = s.db.Close()
	}
	for _, l := range []*link{s.toPostgres, s.toRabbitMQ, s.toRedis[0], s.toRedis[1]} {
		if l != nil {
			l.cut()
		}
	}
	for _, server := range []*servers.Instance{s.postgres, s.redis, s.rabbitmq} {
		if server != nil {
			if err := server.Remove(); err != nil {
				fmt.Fprintln(os.Stderr, "faults:", err)
			}
		}
	}
}

// through is the address of a server, by way of a link.
func through(l *link, raw string) *url.URL {
	u := must(url.Parse(raw))
	u.Host = l.address()
	return u
}

// number is the answer to a question with one, -1 while nobody answers.
func (s *stack) number(ctx context.Context, query string, args ...any) (n int) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.db.QueryRowContext(ctx, query, args...).Scan(&n) != nil {
		return -1
	}
	return n
}

// exec insists through the moments in which the pool finds its connections broken.
func (s *stack) exec(ctx context.Context, statement string) {
	var err error
	for range 5 {
		if _, err = s.db.ExecContext(ctx, statement); err == nil {
			return
		}
	}
	check(fmt.Errorf("%s: %w", statement, err))
}

// flushRedis forgets all that is cached, by Redis' own plain protocol.
func (s *stack) flushRedis(ctx context.Context) {
	conn := must(new(net.Dialer).DialContext(ctx, "tcp", s.redis.Addr))
	defer func() { _ = conn.Close() }()
	password, _ := must(url.Parse(s.redis.URL)).User.Password()
	must(fmt.Fprintf(conn, "AUTH %s\r\nFLUSHALL\r\nQUIT\r\n", password))
	if answer := must(io.ReadAll(conn)); string(answer) != "+OK\r\n+OK\r\n+OK\r\n" {
		check(fmt.Errorf("redis answered %q", answer))
	}
}
