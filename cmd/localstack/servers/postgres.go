package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/lib/pq"
)

const postgresDatabase = "user_service_db"

// Postgres is PostgreSQL.
var Postgres = &Kind{
	Name:     "postgres",
	Variable: "DATABASE_URL",
	Package:  "postgresql",
	Minimum:  "15",

	candidates: postgresCandidates,
	series:     func(version string) string { return firstParts(version, 1) },
	ports:      []string{"server"},
	stopSignal: syscall.SIGINT, // ends sessions; SIGTERM would wait for them
	prepare:    preparePostgres,
	commands:   postgresCommands,
	url:        func(i *Instance) string { return postgresURL(i, postgresDatabase) },
	login:      loginPostgres,
	check:      checkPostgres,
}

func postgresURL(i *Instance, database string) string {
	return fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=disable", i.rec.Secret, i.Addr, database)
}

func postgresCandidates() (found []Binary) {
	for _, dir := range glob(onPath("postgres"), "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin") {
		// A client package may have the folder without the server.
		if exists(filepath.Join(dir, "postgres")) && exists(filepath.Join(dir, "initdb")) {
			found = append(found, Binary{Path: dir, Version: askVersion(filepath.Join(dir, "postgres"))})
		}
	}
	return found
}

func (i *Instance) cluster() string { return filepath.Join(i.data(), "cluster") }

// preparePostgres makes the cluster beside its place and renames it: half a cluster is never taken for a whole.
func preparePostgres(ctx context.Context, i *Instance) error {
	if exists(i.cluster()) {
		return i.removeStaleLock()
	}
	unfinished := i.cluster() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	password, err := i.writeOwned("password", i.rec.Secret)
	if err != nil {
		return err
	}
	defer os.Remove(password)
	initdb := command{path: filepath.Join(i.binary.Path, "initdb"), args: []string{
		"--pgdata=" + unfinished, "--username=postgres", "--pwfile=" + password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=" + locale(), "--no-instructions"}}
	if i.rec.Fast {
		initdb.args = append(initdb.args, "--no-sync")
	}
	if err := i.run(ctx, initdb); err != nil {
		return err
	}
	return os.Rename(unfinished, i.cluster())
}

// locale compares texts by code point, and knows letters beyond ASCII where the system has it.
func locale() string {
	if runtime.GOOS == "darwin" {
		return "C"
	}
	return "C.UTF-8"
}

// removeStaleLock helps a server whose last process id now belongs to another process of the same
// account: it would take that one for itself and refuse to start.
func (i *Instance) removeStaleLock() error {
	path := filepath.Join(i.cluster(), "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an orderly stop leaves none
	} else if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(line)
	if pid == i.rec.Last.PID && i.rec.Last.recycled() {
		return os.Remove(path)
	}
	return nil
}

func postgresCommands(i *Instance) []command {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(i.port("server")), "unix_socket_directories=",
		"max_connections=300", "timezone=UTC", "log_timezone=UTC", "logging_collector=off",
		"shared_buffers=" + strconv.Itoa(sharedBuffers()) + "MB",
		"track_commit_timestamp=on", // the benchmark asks when a change was committed
	}
	if i.rec.Fast {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := []string{"-D", i.cluster()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return []command{{path: filepath.Join(i.binary.Path, "postgres"), args: args}}
}

// loginPostgres makes the database on the first login.
func loginPostgres(ctx context.Context, i *Instance) error {
	err := checkPostgres(ctx, i.URL)
	if missing := (*pq.Error)(nil); !errors.As(err, &missing) || missing.Code.Name() != "invalid_catalog_name" {
		return err
	}
	db, err := sql.Open("postgres", postgresURL(i, "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+postgresDatabase)
	return err
}

func checkPostgres(ctx context.Context, url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// sharedBuffers is a quarter of the memory there is, as PostgreSQL's manual advises (19.4.1), in MiB: 2 GiB at the
// most, which hold the tables of a million users. It is taken only as it is used.
func sharedBuffers() int {
	const least, elsewhere, most = 128, 1024, 2048
	machine, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return elsewhere // not Linux
	}
	var kB, limit int
	_, _ = fmt.Sscanf(string(machine), "MemTotal: %d kB", &kB)
	memory := kB / 1024
	container, _ := os.ReadFile("/sys/fs/cgroup/memory.max") // "max" where there is no limit
	if _, err := fmt.Sscan(string(container), &limit); err == nil {
		memory = min(memory, limit/1024/1024)
	}
	return min(max(memory/4, least), most)
}
