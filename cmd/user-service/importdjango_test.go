package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// django is the database of an original service.
type django struct {
	t   *testing.T
	url string
	db  *postgres.DB
}

var noSteps = fstest.MapFS{"00001_nothing.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n")}}

// djangoTables are what the original's migrations make.
const djangoTables = `
	CREATE TABLE users (
		id uuid PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL,
		email varchar(254) NOT NULL UNIQUE, name varchar(255) NOT NULL, push_token text, email_verified boolean NOT NULL,
		is_active boolean NOT NULL, is_staff boolean NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
	CREATE TABLE user_preferences (
		id bigserial PRIMARY KEY, user_id uuid NOT NULL UNIQUE REFERENCES users, email boolean NOT NULL, push boolean NOT NULL,
		created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL)`

func newDjango(t *testing.T, tables string) *django {
	t.Helper()
	d := &django{t: t, url: servertest.Database(t, noSteps)}
	var err error
	d.db, err = postgres.Open(d.url, 2)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.db.Close() })
	d.exec(tables)
	return d
}

func (d *django) exec(query string, args ...any) {
	d.t.Helper()
	_, err := d.db.Exec(d.t.Context(), query, args...)
	require.NoError(d.t, err)
}

// fill makes users 1 to n, of every kind of hash, flag and preference, the odd ones with a token.
func (d *django) fill(n int) {
	d.t.Helper()
	d.exec(`
		INSERT INTO users
		SELECT md5(i::text)::uuid,
		       (ARRAY['pbkdf2_sha256$720000$salt$aGFzaA==', 'bcrypt$$2b$12$abcdefghijklmnopqrstuv', 'bcrypt_sha256$$2b$12$abcdefghijklmnopqrstuv',
		              'argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdA$aGFzaA', '!unusable'])[1 + i % 5] || CASE WHEN i % 5 < 4 THEN i::text ELSE '' END,
		       now(), i % 100 = 0, 'User.' || i || '@Example.com', 'Zoë ' || i || ' 王小明', CASE WHEN i % 2 = 1 THEN 'device-' || i END,
		       i % 3 > 0, i % 7 > 0, i % 50 = 0, '2024-01-01'::timestamptz + i * interval '1 minute', '2025-01-01'::timestamptz + i * interval '1 minute'
		FROM generate_series(1, $1::integer) AS i`, n)
	d.exec(`INSERT INTO user_preferences (user_id, email, push, created_at, updated_at)
		SELECT md5(i::text)::uuid, i % 2 = 0, i % 3 = 0, now(), now() FROM generate_series(1, $1::integer) AS i WHERE i % 11 > 0`, n)
}

// add makes one user, the later the younger.
func (d *django) add(email, name string, token *string) (id string) {
	d.t.Helper()
	id = uuid.NewString()
	d.exec(`
		INSERT INTO users (id, password, email, name, push_token, is_active, is_staff, email_verified, is_superuser, created_at, updated_at)
		VALUES ($1, 'pbkdf2_sha256$1$salt$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', $2, $3, $4, true, false, true, false, clock_timestamp(), clock_timestamp())`, id, email, name, token)
	return id
}

// importFrom runs the command to its end.
func (s *stack) importFrom(t *testing.T, d *django, args ...string) string {
	t.Helper()
	out, status := s.command(t, s.environment(), append([]string{"import-django", "--dsn", d.url}, args...)...)
	require.Zero(t, status, out)
	return out
}

// figure is the number at the beginning of the report's line.
func figure(t *testing.T, report, line string) int {
	t.Helper()
	match := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(line) + ` +(\d+)`).FindStringSubmatch(report)
	require.NotNil(t, match, "%q in %s", line, report)
	n, err := strconv.Atoi(match[1])
	require.NoError(t, err)
	return n
}

func TestImportTakesOverTenThousandUsersAsTheyAre(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	d.fill(10000)
	start := time.Now()
	out := s.importFrom(t, d)
	t.Logf("10,000 users in %v", time.Since(start))
	require.Equal(t, 10000, figure(t, out, "imported"), out)
	require.Equal(t, 0, figure(t, out, "skipped"))
	require.Contains(t, out, "10000 of 10000 users\n", "no terminal, so lines")

	require.Equal(t, fingerprint(t, d.db, `
		SELECT concat_ws('|', u.id, replace(u.email, 'Example', 'example'), u.password, u.name, coalesce(u.push_token, '-'), u.email_verified,
		       u.is_active, u.is_staff OR u.is_superuser, coalesce(p.email, true), coalesce(p.push, true), u.created_at, u.updated_at)
		FROM users u LEFT JOIN user_preferences p ON p.user_id = u.id`),
		fingerprint(t, s.open(t), `
		SELECT concat_ws('|', a.id, a.email, a.password, p.name, coalesce(p.push_token, '-'), a.email_verified,
		       a.is_active, a.is_staff, c.email, c.push, a.created_at, a.updated_at)
		FROM auth.accounts a JOIN profile.users p ON p.id = a.id JOIN preferences.preferences c ON c.user_id = a.id JOIN push.recipients r ON r.user_id = a.id
		WHERE (p.email, p.email_verified, p.is_active, p.is_staff, p.email_allowed, p.push_allowed, p.created_at, p.updated_at)
		    = (a.email, a.email_verified, a.is_active, a.is_staff, c.email, c.push, a.created_at, a.updated_at)
		  AND c.is_active = a.is_active AND (r.push_allowed, r.is_active) = (c.push, a.is_active) AND r.push_token IS NOT DISTINCT FROM p.push_token`),
		"every module knows the same of everybody")
	require.Zero(t, count(t, s.open(t), `SELECT count(*) FROM messaging.outbox`), "nobody is told unless it is asked for")
}

// fingerprint is a number for the rows of a query, in any order, and how many they are.
func fingerprint(t *testing.T, db *postgres.DB, query string) (sum string) {
	t.Helper()
	require.NoError(t, db.Get(t.Context(), &sum,
		`SELECT count(*) || ' ' || md5(string_agg(line, E'\n' ORDER BY line)) FROM (`+query+`) AS rows (line)`))
	return sum
}

func TestImportedUserSignsInAndIsReached(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	i := s.start(t)
	b := s.broker(t)
	hash := "" // of goodPassword
	require.NoError(t, s.open(t).Get(t.Context(), &hash, `SELECT password FROM auth.accounts WHERE id = $1`, i.register().id()))
	token := "device-of-" + uuid.NewString()
	id := d.add("Grace@Navy.example.org", "Grace", &token)
	d.exec(`UPDATE users SET password = $1, is_superuser = true`, hash)
	d.exec(`INSERT INTO user_preferences (user_id, email, push, created_at, updated_at) VALUES ($1, false, true, now(), now())`, id)
	s.importFrom(t, d) // the service runs

	var k tokens
	r := i.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": "grace@navy.example.org", "password": goodPassword})
	require.Equal(t, 200, r.Status, r.Message)
	r.into(t, &k)
	require.Equal(t, id, k.id())
	require.Equal(t, map[string]any{"email": false, "push": true}, k.User["preferences"])
	require.Equal(t, true, k.User["is_staff"])
	require.Equal(t, true, k.User["email_verified"])
	r = i.call("PATCH", "/api/v1/users/preferences/", k.AccessToken, map[string]any{"email": true})
	require.Equal(t, 200, r.Status, r.Message)

	request := uuid.NewString()
	b.push(pushBody(id, request))
	servertest.Eventually(t, func() bool { return len(s.provider.received(request)) == 1 }, "the message arrives")
	require.Equal(t, token, s.provider.received(request)[0]["token"])
}

func TestImportAgainLeavesEverybodyAsTheyAre(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	d.fill(300)
	s.importFrom(t, d)
	db := s.open(t)
	_, err := db.Exec(t.Context(), `UPDATE profile.users SET name = 'changed since'`)
	require.NoError(t, err)
	late := d.add("late@example.com", "Late", nil)

	out := s.importFrom(t, d, "--batch", "7")
	require.Equal(t, []int{1, 300, 0}, []int{figure(t, out, "imported"), figure(t, out, "already there"), figure(t, out, "skipped")}, out)
	require.Equal(t, 300, count(t, db, `SELECT count(*) FROM profile.users WHERE name = 'changed since'`))
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.accounts WHERE id = $1`, late))
	require.Equal(t, 301, count(t, db, `SELECT sum((detail->>'count')::integer) FROM auth.audit_log WHERE action = 'accounts_imported' AND actor = 'operator'`))
}

func TestImportSkipsOnlyWhoCannotBeAndMendsTheRest(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	long, odd, fine := strings.Repeat("t", 5000), "to\nken", "fine"
	first := d.add("Twin@Example.com", "The elder", nil)
	second := d.add("twin@example.com", "The younger", nil)
	invalid := []string{d.add("no address", "A", nil), d.add("müller@example.com", "B", nil), d.add("", "C", nil), d.add("x@localhost", "D", nil)}
	nameless, ringing := d.add("nameless@example.com", " \u200b", &long), d.add("bell@example.com", "Bell\aBoy", &odd)
	d.add("none@example.com", "Nobody", &fine)
	weak := d.add("weak@example.com", "Weak", nil)
	d.exec(`UPDATE users SET password = 'md5$salt$hash' WHERE id = $1`, weak)

	out := s.importFrom(t, d)
	db := s.open(t)
	require.Equal(t, []int{5, 5, 1, 4}, []int{figure(t, out, "imported"), figure(t, out, "skipped"), figure(t, out, emailTaken), figure(t, out, noEmail)}, out)
	require.Equal(t, []int{2, 2, 1}, []int{figure(t, out, nameMended), figure(t, out, tokenDropped), figure(t, out, hashUnknown)}, out)
	require.Regexp(t, emailTaken+` +1 +`+second, out)
	require.Contains(t, out, strings.Join(invalid[:3], ", ")+", …")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.accounts WHERE id = $1 AND email = 'Twin@example.com'`, first), "who came first keeps the address")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM profile.users WHERE id = $1 AND name = 'nameless' AND push_token IS NULL`, nameless))
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM profile.users WHERE id = $1 AND name = 'Bell Boy' AND push_token IS NULL`, ringing))
	require.NotContains(t, out, "@", "no address is shown")
	require.NotContains(t, out, "pbkdf2", "and no hash")
}

func TestImportDoesWithTheColumnsThatAreThere(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, `
		CREATE TABLE users (id uuid PRIMARY KEY, email varchar(254) UNIQUE, password varchar(128), date_joined timestamp, name varchar(255));
		CREATE TABLE user_preferences (id bigserial PRIMARY KEY, user_id uuid UNIQUE, email_enabled boolean, push_enabled boolean)`)
	known, empty := uuid.NewString(), uuid.NewString()
	d.exec(`INSERT INTO users VALUES ($1, 'a@example.com', 'bcrypt$x', '2020-05-05 05:05:05', 'Ada')`, known)
	d.exec(`INSERT INTO users (id, email) VALUES ($1, 'b@example.com')`, empty)
	d.exec(`INSERT INTO user_preferences (user_id, email_enabled, push_enabled) VALUES ($1, false, NULL)`, known)
	out := s.importFrom(t, d)
	require.Contains(t, out, "not found in the source, so taken as usual: users.push_token, users.email_verified, users.is_active, users.is_staff, users.is_superuser, users.updated_at\n")
	db := s.open(t)
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM profile.users WHERE id = $1 AND NOT email_allowed AND push_allowed AND is_active AND NOT is_staff
		AND NOT email_verified AND created_at = '2020-05-05 05:05:05Z' AND updated_at = created_at`, known))
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM auth.accounts WHERE id = $1 AND password = '!'`, empty), "nobody can sign in without a password")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM profile.users WHERE id = $1 AND name = 'b' AND created_at > now() - interval '1 hour'`, empty))
}

func TestImportWithoutPreferencesOrWithIdsOfAnotherKind(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, `CREATE TABLE users (id text PRIMARY KEY, email text, password text)`)
	good := uuid.NewString()
	d.exec(`INSERT INTO users VALUES ('17', 'a@example.com', 'bcrypt$x'), ($1, 'b@example.com', 'bcrypt$x')`, strings.ToUpper(good))
	out := s.importFrom(t, d)
	require.Regexp(t, noID+` +1 +17\n`, out)
	require.Equal(t, 1, figure(t, out, "imported"))
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM preferences.preferences WHERE user_id = $1 AND email AND push`, good))
}

func TestImportWithEventsTellsOfEachNewUserOnce(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	i := s.start(t)
	b := s.broker(t)
	listening := b.listen()
	d.fill(50)
	s.importFrom(t, d, "--events")
	s.importFrom(t, d, "--events")
	last := d.add("last@example.com", "Last", nil)
	s.importFrom(t, d, "--events")
	servertest.Eventually(t, func() bool { return len(listening.of(last, "user.registered")) == 1 }, "the last is told of")
	for n := 1; n <= 50; n++ {
		id := ""
		require.NoError(t, d.db.Get(t.Context(), &id, `SELECT md5($1)::uuid`, strconv.Itoa(n)))
		told := listening.of(id, "user.registered")
		require.Len(t, told, 1)
		require.Equal(t, "/user-service/auth", told[0].Source)
		require.Equal(t, fmt.Sprintf("User.%d@example.com", n), told[0].Data["email"])
		require.Equal(t, map[string]any{"email": n%2 == 0 || n%11 == 0, "push": n%3 == 0 || n%11 == 0}, told[0].Data["preferences"])
	}
	db := s.open(t)
	require.Equal(t, 51, count(t, db, `SELECT count(*) FROM profile.users u JOIN auth.accounts a USING (id) WHERE u.version = 1 AND u.updated_at = a.updated_at`),
		"their own event changes nobody")
	require.Equal(t, 7, count(t, db, `SELECT count(*) FROM push.recipients WHERE NOT is_active`))
	require.Equal(t, 201, i.call("POST", "/api/v1/users/", "", map[string]any{"name": "New", "email": "new@example.com", "password": goodPassword}).Status)
}

// startImport starts the command and gives its output once it has ended.
func (s *stack) startImport(t *testing.T, d *django, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	out := new(strings.Builder)
	cmd := exec.CommandContext(t.Context(), path, append([]string{"import-django", "--dsn", d.url}, args...)...)
	cmd.Dir, cmd.Env = t.TempDir(), s.environment()
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	return cmd, out
}

// blockedAt has the import wait in the middle, for a foreign transaction that wants the address of
// one user; let ends that.
func (s *stack) blockedAt(t *testing.T, email string) (waits func() bool, let func()) {
	t.Helper()
	db := s.open(t)
	tx, err := db.Pool().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `INSERT INTO auth.accounts (id, email, password) VALUES ($1, $2, '!')`, uuid.NewString(), email)
	require.NoError(t, err)
	waits = func() bool {
		return count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}
	return waits, func() { _ = tx.Rollback() }
}

func TestImportThatIsStoppedRollsBackItsBatchAndGoesOnTheNextTime(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := newStack(t), newDjango(t, djangoTables)
			d.fill(1000)
			waits, let := s.blockedAt(t, "user.550@example.com")
			cmd, out := s.startImport(t, d, "--batch", "100", "--events")
			servertest.Eventually(t, waits, "the sixth batch waits")
			require.NoError(t, cmd.Process.Signal(signal))
			require.Error(t, cmd.Wait())
			if signal == syscall.SIGINT {
				require.Equal(t, 1, cmd.ProcessState.ExitCode())
				require.Equal(t, 500, figure(t, out.String(), "imported"), out)
				require.Contains(t, out.String(), "user-service: stopped after 500 of 1000 users, run it again to go on: interrupted\n")
			}
			let()
			db := s.open(t)
			servertest.Eventually(t, func() bool { return !waits() }, "the batch is gone")
			require.Equal(t, 500, count(t, db, `SELECT count(*) FROM auth.accounts`))
			again := s.importFrom(t, d, "--events")
			require.Equal(t, []int{500, 500}, []int{figure(t, again, "imported"), figure(t, again, "already there")}, again)
			for _, table := range []string{"auth.accounts", "profile.users", "preferences.preferences", "push.recipients", "messaging.outbox"} {
				require.Equal(t, 1000, count(t, db, `SELECT count(*) FROM `+table), table)
			}
		})
	}
}

func TestImportShowsABarOnATerminal(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	d.fill(20)
	c := s.atTerminal(t, "import-django", "--dsn", d.url, "--batch", "5")
	require.NoError(t, c.cmd.Wait())
	servertest.Eventually(t, func() bool { return strings.Contains(c.screen(), "already there") }, "the report")
	require.Contains(t, c.screen(), "importing 100% |")
	require.Contains(t, c.screen(), "(20/20")
	require.NotContains(t, c.screen(), "20 of 20 users")
}

func TestImportSaysWhatIsWrongWithItsSourceAndNotItsPassword(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	empty, headless := newDjango(t, `SELECT 1`), newDjango(t, `CREATE TABLE users (id uuid, email text)`)
	for dsn, complaint := range map[string]string{
		empty.url:    "there is no table users",
		headless.url: "the table users has no column password",
		"postgres://reader:hidden-secret@127.0.0.1:1/users":     "127.0.0.1:1",
		"mysql://reader:hidden-secret@127.0.0.1/users":          "postgres://user:password@host:5432/name",
		"postgres://reader:hidden-secret@127.0.0.1:port%/users": "cannot be parsed",
		"host=127.0.0.1 password=hidden-secret":                 "cannot be parsed",
		strings.Replace(empty.url, "@", "hidden-secret@", 1):    "(the database is that of --dsn)",
	} {
		out, status := s.command(t, s.environment(), "import-django", "--dsn", dsn)
		require.Equal(t, 1, status, out)
		require.Contains(t, out, complaint)
		require.NotContains(t, out, "hidden-secret")
	}
	out, status := s.command(t, s.environment(), "import-django", "postgres://reader:hidden-secret@127.0.0.1/users")
	require.NotZero(t, status)
	require.Contains(t, out, "unexpected argument postgres://…@127.0.0.1/users")
	require.NotContains(t, out, "hidden-secret")
}

// TestImportMendsTimesAndNamesPasswordsNobodyCanCheck takes what Django or somebody's SQL may have left.
func TestImportMendsTimesAndNamesPasswordsNobodyCanCheck(t *testing.T) {
	t.Parallel()
	s, d := newStack(t), newDjango(t, djangoTables)
	for n, created := range []string{"infinity", "-infinity", "0044-03-15 BC", "12025-01-01", "2024-02-29"} {
		d.exec(`UPDATE users SET created_at = $2::timestamptz WHERE id = $1`, d.add(fmt.Sprintf("time%d@example.com", n), "T", nil), created)
	}
	for n, hash := range []string{
		"pbkdf2_sha256$9000000$salt$aGFzaA==", "bcrypt$$2b$16$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghi",
		"argon2$argon2i$v=19$m=102400,t=2,p=8$c2FsdA$aGFzaA", "pbkdf2_sha256$many$salt$x", "pbkdf2_sha1$1$salt$aGFzaA==",
	} {
		d.exec(`UPDATE users SET password = $2 WHERE id = $1`, d.add(fmt.Sprintf("hash%d@example.com", n), "H", nil), hash)
	}
	out := s.importFrom(t, d)
	require.Equal(t, []int{10, 4, 5}, []int{figure(t, out, "imported"), figure(t, out, timeMended), figure(t, out, hashUnknown)}, out)
	require.Equal(t, 4, count(t, s.open(t), `SELECT count(*) FROM auth.accounts WHERE email LIKE 'time%' AND created_at > now() - interval '1 hour'`))
	require.Equal(t, 1, count(t, s.open(t), `SELECT count(*) FROM auth.accounts WHERE created_at = '2024-02-29'`))
}
