package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// growth is what becomes slower when there is more.
type growth struct {
	Sizes []grown      `json:"sizes"`
	Relay grownBacklog `json:"relay"`
}

// The requests whose time may grow with the number of users.
const (
	cached    = "GET profile"
	notCached = "GET profile, not cached"
	changed   = "PATCH preferences"
	listed    = "list of users"
	searched  = "search of users"
)

// growing are these, each with the limit of its p99: so many times that with the fewest users, or so many ms.
var growing = []struct {
	what           string
	times, ceiling float64
}{
	{what: cached, times: 1.3},
	{what: notCached, times: 1.3},
	{what: changed, times: 1.3},
	{what: listed, ceiling: 50},
	{what: searched, ceiling: 50},
}

// grown is how long requests take with so many users.
type grown struct {
	Users int       `json:"users"`
	P99   durations `json:"p99_ms"`                // medians of the rounds
	Times durations `json:"times_of_fewest_users"` // medians of each round's own
}

// durations are of each of growing, by what it is.
type durations map[string]float64

// grownBacklog is how the relay works off very many rows.
type grownBacklog struct {
	Rows    int     `json:"rows"`
	Floor   float64 `json:"floor_per_second"`
	Rate    float64 `json:"per_second"`
	PeakMiB float64 `json:"peak_mib"` // of the service's process
}

// measureGrowth alternates between services with few, more and very many users, as the other jobs do between
// floor and service: who makes a million users and then measures finds a machine that has not yet recovered.
// Then it has very many rows wait in the outbox.
func (w *world) measureGrowth(ctx context.Context, quick bool, rounds int, length time.Duration) *growth {
	sizes, rows := []int{1_000, 100_000, 1_000_000}, 1_000_000
	if quick {
		sizes, rows = sizes[:2], 100_000
	}
	g := new(growth)
	towns := make([]*town, len(sizes))
	for n, size := range sizes {
		towns[n] = &town{world: new(world)}
		defer towns[n].close()
		towns[n].begin(ctx, w.binary, size)
	}
	p99s := make([][]durations, len(sizes))
	for n := range rounds + 1 {
		for i, t := range towns {
			p99 := t.measure(ctx, n, length)
			fmt.Printf("growth round %d of %d  %d users, p99 in ms: %s\n", n, rounds, sizes[i], p99)
			if n > 0 { // the first round fills pools and prepares statements
				p99s[i] = append(p99s[i], p99)
			}
		}
	}
	for i, size := range sizes {
		g.Sizes = append(g.Sizes, compareSizes(size, p99s[0], p99s[i]))
	}
	w.restartService(ctx) // so that its peak is of what follows
	backlog := w.backlog(rows)
	floor, service := backlog.floor(ctx, 1), backlog.service(ctx, 1)
	g.Relay = grownBacklog{Rows: rows, Floor: floor.rate(), Rate: service.rate(), PeakMiB: w.service.peak()}
	return g
}

// compareSizes takes medians of rounds.
func compareSizes(users int, fewest, measured []durations) grown {
	g := grown{Users: users, P99: durations{}, Times: durations{}}
	for _, kind := range growing {
		var p99s, times []float64
		for n, of := range measured {
			p99s, times = append(p99s, of[kind.what]), append(times, of[kind.what]/fewest[n][kind.what])
		}
		g.P99[kind.what], g.Times[kind.what] = median(p99s), median(times)
	}
	return g
}

// town is a service with very many users, and a database of its own.
type town struct {
	*world
	staff  user
	chance []user // some of all there are, by chance
}

func (t *town) begin(ctx context.Context, binary string, size int) {
	t.open(ctx, binary)
	t.startService(ctx)
	t.staff = t.superuser(ctx)
	seed(ctx, t.db, size-1)
	t.remember(ctx)
	t.chance = t.usersBy(ctx, "SELECT id FROM profile.users ORDER BY random() LIMIT $1", 20*met)
}

// remember has the database hold all it has in memory, and the service's connections to it know where, as they do
// when they have worked for a while: what comes from disk takes a disk's time, however few users there are.
func (t *town) remember(ctx context.Context) {
	must(t.db.ExecContext(ctx, "CREATE EXTENSION IF NOT EXISTS pg_prewarm"))
	must(t.db.ExecContext(ctx, `
		SELECT pg_prewarm(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'i', 't') AND nspname NOT IN ('pg_catalog', 'information_schema')`))
	search, until := inTurn(request("GET", searchPath, t.staff.token, "")), time.Now().Add(3*time.Second)
	var all errgroup.Group
	for range restConnections {
		all.Go(func() error {
			_, err := send(ctx, t.service.address, search, new(int), until)
			return err
		})
	}
	check(all.Wait())
}

const (
	met        = 1_000 // users in a round
	searchPath = usersPath + "?search=ada+lovelace"
)

// measure makes one request after the other, so that none waits for another. The users are others in each round, as far
// as there are others.
func (t *town) measure(ctx context.Context, turn int, length time.Duration) durations {
	first := turn * met % (len(t.chance) / met * met)
	users := t.chance[first : first+met]
	check(t.redis.FlushDB(ctx).Err())
	d := durations{}
	read := func(u user) []byte { return request("GET", profilePath, u.token, "") }
	d[notCached] = milliseconds(t.each(ctx, users, read), 99)
	d[cached] = milliseconds(t.each(ctx, users, read), 99)
	var changes []time.Duration
	for _, body := range []string{`{"email":false}`, `{"email":true}`} { // as all have it: each of them changes something
		changes = append(changes, t.each(ctx, users, func(u user) []byte { return request("PATCH", preferencesPath, u.token, body) })...)
	}
	d[changed] = milliseconds(changes, 99)
	t.relayed(ctx)
	asked := func(path string) float64 {
		one := inTurn(request("GET", path, t.staff.token, ""))
		return milliseconds(must(send(ctx, t.service.address, one, new(int), time.Now().Add(length))), 99)
	}
	d[listed], d[searched] = asked(usersPath), asked(searchPath)
	return d
}

// usersBy are those whom query finds, with tokens as the service that was there before would have issued
// them: nobody has signed in.
func (w *world) usersBy(ctx context.Context, query string, args ...any) (users []user) {
	rows := must(w.db.QueryContext(ctx, query, args...)) //nolint:rowserrcheck // check, below
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var u user
		check(rows.Scan(&u.id))
		u.token = must(jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"user_id": u.id, "token_type": "access", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}).SignedString(secretKey()))
		users = append(users, u)
	}
	check(rows.Err())
	return users
}

// each makes one request for each of users, and says how long it took.
func (w *world) each(ctx context.Context, users []user, of func(user) []byte) []time.Duration {
	one := func(turn int) []byte {
		if turn == len(users) {
			return nil
		}
		return of(users[turn])
	}
	return must(send(ctx, w.service.address, one, new(int), time.Now().Add(time.Minute)))
}

// superuser makes one and signs in.
func (w *world) superuser(ctx context.Context) user {
	u := user{email: uuid.NewString() + "@example.com"}
	create := exec.CommandContext(ctx, w.binary, "createsuperuser", "--email", u.email, "--name", "Staff", "--password-stdin")
	create.Env, create.Stdin, create.Stderr = w.env, strings.NewReader(password+"\n"), os.Stderr
	check(create.Run())
	body := fmt.Sprintf(`{"email":%q,"password":%q}`, u.email, password)
	var reply struct {
		Data struct {
			AccessToken string `json:"access_token"`
		}
	}
	check(json.Unmarshal(must(call(ctx, http.MethodPost, "http://"+w.service.address+loginPath, body)), &reply))
	u.token = reply.Data.AccessToken
	return u
}

func (d durations) String() string {
	var all []string
	for _, kind := range growing {
		all = append(all, fmt.Sprintf("%s %.1f", kind.what, d[kind.what]))
	}
	return strings.Join(all, ", ")
}

func (g growth) print(out io.Writer) {
	fmt.Fprint(out, "\ngrowth: p99 in ms, and times that of the fewest users\n\n")
	table := newTable(out)
	fmt.Fprint(table, "users\t")
	for _, kind := range growing {
		fmt.Fprint(table, kind.what, "\t\t")
	}
	fmt.Fprintln(table)
	for _, size := range g.Sizes {
		fmt.Fprintf(table, "%d\t", size.Users)
		for _, kind := range growing {
			fmt.Fprintf(table, "%.1f\t(%.2f)\t", size.P99[kind.what], size.Times[kind.what])
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\nrelay with %d rows waiting: %.0f/s (floor: %.0f/s), %.0f MiB at the most\n",
		g.Relay.Rows, g.Relay.Rate, g.Relay.Floor, g.Relay.PeakMiB)
}

// figures are of all but the fewest users, and of the relay.
func (g growth) figures() (all []figure) {
	for _, size := range g.Sizes[1:] {
		for _, kind := range growing {
			what := fmt.Sprintf("%s with %d users: p99", kind.what, size.Users)
			if kind.times > 0 {
				all = append(all, figure{what + ", of that with the fewest", size.Times[kind.what], kind.times, "times"})
			} else {
				all = append(all, figure{what, size.P99[kind.what], kind.ceiling, "ms"})
			}
		}
	}
	backlog := fmt.Sprintf("relay with %d rows waiting: ", g.Relay.Rows)
	return append(all,
		figure{backlog + "rate of the floor, of its own", g.Relay.Floor / g.Relay.Rate, 1 / relayBar, "times"},
		figure{backlog + "memory", g.Relay.PeakMiB * mebibyte, memoryCeiling, "MB"})
}
