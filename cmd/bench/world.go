package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	_ "github.com/lib/pq" // the driver "postgres"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// world is what the jobs share: a database and a virtual host of their own, the two programs, users.
type world struct {
	name   string // of the database and the virtual host
	dir    string // for the build and the children's output
	binary string // the service
	env    []string

	admin, db      *sql.DB // the given database and ours
	redis          *redis.Client
	broker         *amqp.Connection
	amqp           *amqp.Channel
	service, floor *child
	servers        []*http.Server // ours: providers
	pids           map[string]int // of PostgreSQL, Redis and RabbitMQ, see findServers
	users          []user
}

// user is registered with the service, and known to the floor.
type user struct{ id, email, token string }

const (
	password  = "correct horse battery staple"
	userCount = 128 // several for each connection: whoever changes a user locks it
)

// open makes what the children need. What it has made when it fails is left to close.
func (w *world) open(ctx context.Context, binary string) {
	given := map[string]string{}
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL", "SECRET_KEY"} {
		if given[name] = os.Getenv(name); given[name] == "" {
			check(fmt.Errorf("%s is not set: run `make bench`, which starts the servers", name))
		}
	}
	w.name, w.dir = "bench_"+uuid.NewString()[:8], must(os.MkdirTemp("", "bench-"))
	if w.binary = binary; binary == "" {
		w.binary = filepath.Join(w.dir, "user-service")
		fmt.Println("building the service")
		w.command(ctx, append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.binary, "user-service/cmd/user-service")
	}
	database, broker := must(url.Parse(given["DATABASE_URL"])), must(url.Parse(given["RABBITMQ_URL"]))
	database.Path, broker.Path = "/"+w.name, "/"+w.name
	w.env = []string{
		"DATABASE_URL=" + database.String(), "RABBITMQ_URL=" + broker.String(), "REDIS_URL=" + given["REDIS_URL"],
		"SECRET_KEY=" + given["SECRET_KEY"], "RATE_LIMIT=off",
	}
	w.admin = must(sql.Open("postgres", given["DATABASE_URL"]))
	must(w.admin.ExecContext(ctx, "CREATE DATABASE "+w.name))
	w.db = must(sql.Open("postgres", database.String()))
	w.redis = redis.NewClient(must(redis.ParseURL(given["REDIS_URL"])))
	check(manage(ctx, http.MethodPut, "", "api/vhosts", w.name))
	check(manage(ctx, http.MethodPut, `{"configure":".*","write":".*","read":".*"}`, "api/permissions", w.name, broker.User.Username()))
	w.broker = must(amqp.Dial(broker.String()))
	w.amqp = must(w.broker.Channel())
	w.command(ctx, w.env, w.binary, "migrate", "up")
}

func (w *world) command(ctx context.Context, env []string, path string, args ...string) {
	c := exec.CommandContext(ctx, path, args...)
	c.Env, c.Stderr = env, os.Stderr
	check(c.Run())
}

// call makes a request of HTTP; any status but 2xx is an error.
func call(ctx context.Context, method, address, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body)) //nolint:gosec // the address is the operator's
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // likewise
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, req.URL.Path, resp.Status, answer)
	}
	return answer, err
}

// manage calls RabbitMQ's management API.
func manage(ctx context.Context, method, body string, path ...string) error {
	base, err := url.Parse(os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	if err == nil {
		_, err = call(ctx, method, base.JoinPath(path...).String(), body)
	}
	return err
}

// startService waits until the service is healthy. It runs with its defaults, but for settings.
func (w *world) startService(ctx context.Context, settings ...string) {
	port, metrics := freePort(ctx), freePort(ctx)
	w.service = w.spawn(port, w.binary, []string{"serve"}, append(settings, "RATE_LIMIT=off", "PORT="+strconv.Itoa(port), "METRICS_PORT="+strconv.Itoa(metrics)))
	w.service.metrics = fmt.Sprintf("127.0.0.1:%d", metrics)
	await(ctx, "the service is healthy", 5*time.Millisecond, func() bool {
		w.service.check()
		health, err := call(ctx, http.MethodGet, "http://"+w.service.address+"/health/ready/", "")
		return err == nil && bytes.Contains(health, []byte(`"status":"healthy"`)) // before it listens there is an error
	})
}

// restartService gives it other settings, or with none its defaults again.
func (w *world) restartService(ctx context.Context, settings ...string) {
	w.service.stop()
	w.startService(ctx, settings...)
}

// serve answers requests at an address of ours until the world is closed.
func (w *world) serve(ctx context.Context, handler http.Handler) (address string) {
	listener := must(new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	w.servers = append(w.servers, server)
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String()
}

// start is what the service takes to be there.
type start struct {
	Healthy float64 `json:"healthy_seconds"`
	IdleMiB float64 `json:"idle_mib"` // resident after a while; 0: the system does not tell
}

// measureStart starts and stops the service some times, and gives medians.
func (w *world) measureStart(ctx context.Context, rounds int, idle time.Duration) *start {
	var healthy, resident []float64
	for n := range rounds {
		begin := time.Now()
		w.startService(ctx)
		healthy = append(healthy, time.Since(begin).Seconds())
		time.Sleep(idle)
		resident = append(resident, w.service.resident())
		w.service.stop()
		fmt.Printf("start  round %d of %d  healthy after %.2f s, %.0f MiB\n", n+1, rounds, healthy[n], resident[n])
	}
	return &start{Healthy: median(healthy), IdleMiB: median(resident)}
}

// populate starts both programs and makes the users.
func (w *world) populate(ctx context.Context) {
	w.findServers()
	w.startService(ctx)
	w.users = make([]user, userCount)
	var workers errgroup.Group
	workers.SetLimit(8)
	for n := range w.users {
		workers.Go(func() error { return w.register(ctx, &w.users[n]) })
	}
	check(workers.Wait())
	must(w.db.ExecContext(ctx, floorSchema))
	port := freePort(ctx)
	w.floor = w.spawn(port, must(os.Executable()), []string{"floor", strconv.Itoa(port)}, nil)
	await(ctx, "the floor answers", 5*time.Millisecond, func() bool {
		w.floor.check()
		_, err := call(ctx, http.MethodGet, "http://"+w.floor.address+"/health", "")
		return err == nil
	})
}

// register also puts the user where the floors read it.
func (w *world) register(ctx context.Context, u *user) error {
	u.email = uuid.NewString() + "@example.com"
	answer, err := call(ctx, http.MethodPost, "http://"+w.service.address+usersPath, registrationOf(u.email))
	if err != nil {
		return err
	}
	var registered struct {
		Data struct {
			User        json.RawMessage
			AccessToken string `json:"access_token"`
		}
	}
	if err := json.Unmarshal(answer, &registered); err != nil {
		return err
	}
	var made struct {
		ID          string
		Preferences json.RawMessage
	}
	if err := json.Unmarshal(registered.Data.User, &made); err != nil {
		return err
	}
	u.id, u.token = made.ID, registered.Data.AccessToken
	return errors.Join(
		w.redis.Set(ctx, floorKey(u.id), []byte(registered.Data.User), time.Hour).Err(),
		w.redis.Set(ctx, floorPreferencesKey(u.id), []byte(made.Preferences), time.Hour).Err(),
	)
}

func registrationOf(email string) string {
	return fmt.Sprintf(`{"name":"Grace Hopper","email":%q,"password":%q,"push_token":%q}`, email, password, uuid.NewString())
}

// number is the answer to a question with one.
func (w *world) number(ctx context.Context, query string) (n int) {
	check(w.db.QueryRowContext(ctx, query).Scan(&n))
	return n
}

// settle waits until nothing of the round before is left to do.
func (w *world) settle(ctx context.Context) {
	must(w.db.ExecContext(ctx, "TRUNCATE floor.outbox, floor.deliveries"))
	w.relayed(ctx)
}

// relayed waits until no event of the service is left to carry.
func (w *world) relayed(ctx context.Context) {
	await(ctx, "the relay is done", 50*time.Millisecond, func() bool { return w.number(ctx, "SELECT count(*) FROM messaging.outbox") == 0 })
}

// close leaves nothing behind, also after a failure or an interrupt.
func (w *world) close() {
	w.floor.stop()
	w.service.stop()
	for _, server := range w.servers {
		_ = server.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if w.admin != nil {
		_, _ = w.admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+w.name+" WITH (FORCE)")
		_ = manage(ctx, http.MethodDelete, "", "api/vhosts", w.name)
	}
	_ = os.RemoveAll(w.dir)
}
