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

	"github.com/google/uuid"
)

// growth is what becomes slower when there is more.
type growth struct {
	Sizes []grown      `json:"sizes"`
	Relay grownBacklog `json:"relay"`
}

// grown is the p99 of four requests with so many users, in ms.
type grown struct {
	Users  int     `json:"users"`
	Get    float64 `json:"get_profile_p99_ms"`
	Patch  float64 `json:"patch_preferences_p99_ms"`
	List   float64 `json:"staff_list_p99_ms"`
	Search float64 `json:"staff_search_p99_ms"`
}

// grownBacklog is how the relay works off very many rows.
type grownBacklog struct {
	Rows    int     `json:"rows"`
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
	did := w.relayed(rows)(ctx, 1)
	g.Relay = grownBacklog{Rows: rows, Rate: float64(did.done) / did.took.Seconds(), PeakMiB: memoryOf(w.service.cmd.Process.Pid, "VmHWM")}
	return g
}

// measureSize makes one request after the other, so that none waits for another.
func (w *world) measureSize(ctx context.Context, size int, staff user, length time.Duration) grown {
	p99 := func(requests ...[]byte) float64 {
		turn := new(int)
		must(send(ctx, w.service.address, inTurn(requests...), turn, time.Now().Add(seconds(warmUp, length.Seconds()))))
		return milliseconds(must(send(ctx, w.service.address, inTurn(requests...), turn, time.Now().Add(length))), 99)
	}
	token := w.users[0].token
	g := grown{
		Users:  size,
		Get:    p99(request("GET", profilePath, token, "")),
		Patch:  p99(request("PATCH", preferencesPath, token, `{"email":false}`), request("PATCH", preferencesPath, token, `{"email":true}`)),
		List:   p99(request("GET", usersPath, staff.token, "")),
		Search: p99(request("GET", usersPath+"?search=ada+lovelace", staff.token, "")),
	}
	fmt.Printf("growth %d users  p99: GET profile %.1f ms, PATCH preferences %.1f ms, list %.1f ms, search %.1f ms\n", size, g.Get, g.Patch, g.List, g.Search)
	return g
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
	fmt.Fprintln(table, "users\tGET profile\tPATCH preferences\tlist of users\tsearch\t")
	for _, s := range g.Sizes {
		fmt.Fprintf(table, "%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", s.Users, s.Get, s.Patch, s.List, s.Search)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\nrelay with %d rows waiting: %.0f/s, %.0f MiB at the most\n", g.Relay.Rows, g.Relay.Rate, g.Relay.PeakMiB)
}
