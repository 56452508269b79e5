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
)

// growth is what becomes slower when there is more.
type growth struct {
	Sizes []grown      `json:"sizes"`
	Relay grownBacklog `json:"relay"`
}

// grown is the p99 of requests with so many users, in ms.
type grown struct {
	Users  int     `json:"users"`
	First  float64 `json:"get_profile_not_cached_p99_ms"`
	Get    float64 `json:"get_profile_p99_ms"`
	Patch  float64 `json:"patch_preferences_p99_ms"`
	List   float64 `json:"staff_list_p99_ms"`
	Search float64 `json:"staff_search_p99_ms"`
}

// grownBacklog is how the relay works off very many rows.
type grownBacklog struct {
	Rows    int     `json:"rows"`
	Floor   float64 `json:"floor_per_second"`
	Rate    float64 `json:"per_second"`
	PeakMiB float64 `json:"peak_mib"` // of the service's process
}

// measureGrowth makes more and more users, and then has very many rows wait in the outbox.
func (w *world) measureGrowth(ctx context.Context, quick bool, length time.Duration) *growth {
	sizes, rows := []int{1_000, 100_000, 1_000_000}, 1_000_000
	if quick {
		sizes, rows = sizes[:2], 100_000
	}
	staff := w.superuser(ctx)
	g := new(growth)
	for _, size := range sizes {
		seed(ctx, w.db, size-w.number(ctx, "SELECT count(*) FROM profile.users"))
		g.Sizes = append(g.Sizes, w.measureSize(ctx, size, staff, length))
	}
	w.restartService(ctx) // so that its peak is of what follows
	backlog := w.backlog(rows)
	floor, service := backlog.floor(ctx, 1), backlog.service(ctx, 1)
	g.Relay = grownBacklog{Rows: rows, Floor: floor.rate(), Rate: service.rate(), PeakMiB: memoryOf(w.service.cmd.Process.Pid, "VmHWM")}
	return g
}

const (
	meetings = 5     // rounds of requests of users who are met by chance
	met      = 1_000 // in each
)

// measureSize makes one request after the other, so that none waits for another.
func (w *world) measureSize(ctx context.Context, size int, staff user, length time.Duration) grown {
	g := grown{Users: size}
	read := func(u user) []byte { return request("GET", profilePath, u.token, "") }
	var first, again, patched []time.Duration
	for n := range meetings + 1 {
		users := w.anyUsers(ctx)
		check(w.redis.FlushDB(ctx).Err())
		change := func(u user) []byte {
			return request("PATCH", preferencesPath, u.token, fmt.Sprintf(`{"email":%t}`, n%2 == 1))
		}
		reads, rereads, changes := w.each(ctx, users, read), w.each(ctx, users, read), w.each(ctx, users, change)
		if n > 0 { // the first round fills pools and prepares statements
			first, again, patched = append(first, reads...), append(again, rereads...), append(patched, changes...)
		}
	}
	g.First, g.Get, g.Patch = milliseconds(first, 99), milliseconds(again, 99), milliseconds(patched, 99)
	p99 := func(one []byte) float64 {
		turn := new(int)
		must(send(ctx, w.service.address, inTurn(one), turn, time.Now().Add(seconds(warmUp, length.Seconds()))))
		return milliseconds(must(send(ctx, w.service.address, inTurn(one), turn, time.Now().Add(length))), 99)
	}
	g.List = p99(request("GET", usersPath, staff.token, ""))
	g.Search = p99(request("GET", usersPath+"?search=ada+lovelace", staff.token, ""))
	fmt.Printf("growth %d users  p99: GET profile %.1f ms (%.1f ms not cached), PATCH preferences %.1f ms, list %.1f ms, search %.1f ms\n",
		size, g.Get, g.First, g.Patch, g.List, g.Search)
	return g
}

// anyUsers are some of all there are.
func (w *world) anyUsers(ctx context.Context) []user {
	return w.usersBy(ctx, "SELECT id FROM profile.users ORDER BY random() LIMIT $1", met)
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

func (g growth) print(out io.Writer) {
	fmt.Fprint(out, "\ngrowth: p99 in ms\n\n")
	table := newTable(out)
	fmt.Fprintln(table, "users\tGET profile\tnot cached\tPATCH preferences\tlist of users\tsearch\t")
	for _, s := range g.Sizes {
		fmt.Fprintf(table, "%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", s.Users, s.Get, s.First, s.Patch, s.List, s.Search)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\nrelay with %d rows waiting: %.0f/s (floor: %.0f/s), %.0f MiB at the most\n",
		g.Relay.Rows, g.Relay.Rate, g.Relay.Floor, g.Relay.PeakMiB)
}
