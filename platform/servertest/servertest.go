// Package servertest gives each test its own corner of real servers: a database, a virtual host of
// RabbitMQ, and Redis behind a proxy that can be cut. `make test` starts the servers and says where
// they are by DATABASE_URL, REDIS_URL and RABBITMQ_URL; RABBITMQ_MANAGEMENT_URL, when it is not
// given, is port 15672 of the same host.
package servertest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
)

// Env is the value of a variable that `make test` sets.
func Env(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	require.NotEmpty(t, value, "%s is not set: run the tests by `make test`, which starts the servers", name)
	return value
}

// Database makes a database with the steps of migrations applied, and gives its URL. It is dropped
// when the test ends.
func Database(t testing.TB, migrations fs.FS) string {
	t.Helper()
	name := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	asAdmin(t, func(admin *sql.DB) {
		// Copying files is four times cheaper than logging their pages, where nothing is synced to disk.
		exec(t, admin, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY FILE_COPY", name, makeTemplate(t, admin, migrations)))
	})
	t.Cleanup(func() {
		asAdmin(t, func(admin *sql.DB) { exec(t, admin, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name)) })
	})
	return withPath(t, Env(t, "DATABASE_URL"), "/"+name)
}

// OpenDatabase is Database, opened.
func OpenDatabase(t testing.TB, migrations fs.FS) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(Database(t, migrations), 10)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// admin is the one connection by which the tests of a process make and drop databases, in turns: to
// open one takes as long as either.
var (
	adminTurn sync.Mutex
	admin     *sql.DB
)

func asAdmin(t testing.TB, do func(admin *sql.DB)) {
	t.Helper()
	adminTurn.Lock()
	defer adminTurn.Unlock()
	if admin == nil {
		db, err := sql.Open("postgres", Env(t, "DATABASE_URL"))
		require.NoError(t, err)
		db.SetMaxOpenConns(1) // the advisory lock belongs to the connection
		admin = db
	}
	do(admin)
}

// makeTemplate makes the migrated database that tests copy, once for all processes: a copy takes
// 60 ms, the migrations longer.
func makeTemplate(t testing.TB, admin *sql.DB, migrations fs.FS) string {
	t.Helper()
	sum := fnv.New64a()
	files, err := fs.Glob(migrations, "*.sql")
	require.NoError(t, err)
	for _, file := range files {
		content, err := fs.ReadFile(migrations, file)
		require.NoError(t, err)
		_, _ = sum.Write(content)
	}
	name := fmt.Sprintf("template_%x", sum.Sum64())
	exec(t, admin, "SELECT pg_advisory_lock(815)")
	defer exec(t, admin, "SELECT pg_advisory_unlock(815)")
	var there bool
	require.NoError(t, admin.QueryRow("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there))
	if there {
		return name
	}
	making := name + "_making"
	exec(t, admin, "DROP DATABASE IF EXISTS "+making+" WITH (FORCE)")
	exec(t, admin, "CREATE DATABASE "+making)
	db, err := postgres.Open(withPath(t, Env(t, "DATABASE_URL"), "/"+making), 2)
	require.NoError(t, err)
	migrator, err := db.NewMigrator(migrations)
	require.NoError(t, err)
	_, err = migrator.Up(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.Close())
	exec(t, admin, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", making, name))
	return name
}

func exec(t testing.TB, db *sql.DB, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := db.ExecContext(ctx, statement)
	require.NoError(t, err, statement)
}

func withPath(t testing.TB, raw, path string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	u.Path, u.RawPath = path, ""
	return u.String()
}

// VHost makes a virtual host of RabbitMQ and gives its URL. It is deleted when the test ends.
func VHost(t testing.TB) string {
	t.Helper()
	name := "test-" + uuid.NewString()
	Manage(t, http.MethodPut, "/api/vhosts/"+name, "")
	t.Cleanup(func() { Manage(t, http.MethodDelete, "/api/vhosts/"+name, "") })
	broker, err := url.Parse(Env(t, "RABBITMQ_URL"))
	require.NoError(t, err)
	Manage(t, http.MethodPut, "/api/permissions/"+name+"/"+url.PathEscape(broker.User.Username()), `{"configure":".*","write":".*","read":".*"}`)
	return withPath(t, broker.String(), "/"+name)
}

// Manage calls RabbitMQ's management API and gives the body of its answer.
func Manage(t testing.TB, method, path, body string) []byte {
	t.Helper()
	base := management(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	address := base.Scheme + "://" + base.Host + path
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewBufferString(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	password, _ := base.User.Password()
	req.SetBasicAuth(base.User.Username(), password)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s %s: %s", method, path, answer)
	return answer
}

// management is where RabbitMQ's own default puts it, unless the environment says otherwise.
func management(t testing.TB) *url.URL {
	t.Helper()
	if told := os.Getenv("RABBITMQ_MANAGEMENT_URL"); told != "" {
		base, err := url.Parse(told)
		require.NoError(t, err)
		return base
	}
	broker, err := url.Parse(Env(t, "RABBITMQ_URL"))
	require.NoError(t, err)
	return &url.URL{Scheme: "http", User: broker.User, Host: net.JoinHostPort(broker.Hostname(), "15672")}
}

// Eventually waits until condition holds, for a minute at the most.
func Eventually(t testing.TB, condition func() bool, what string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			require.FailNow(t, "did not come about in a minute: "+fmt.Sprintf(what, args...))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
