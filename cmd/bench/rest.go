package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// restConnections keep every core busy, and are more than the pools of connections have.
const restConnections = 32

const (
	profilePath     = "/api/v1/users/profile/"
	preferencesPath = "/api/v1/users/preferences/"
	usersPath       = "/api/v1/users/"
	loginPath       = "/api/v1/auth/login/"
)

// get reads profiles from the cache.
func get(_ context.Context, w *world) job {
	return job{what: "GET profile", bar: 0.85, floor: w.reads(w.floor, profilePath), service: w.reads(w.service, profilePath)}
}

// preferences reads them from the cache.
func preferences(_ context.Context, w *world) job {
	return job{what: "GET preferences", bar: 0.85, floor: w.reads(w.floor, preferencesPath), service: w.reads(w.service, preferencesPath)}
}

func (w *world) reads(c *child, path string) side {
	return w.load(c, restConnections, 4, func(u user) script { return inTurn(request("GET", path, u.token, "")) })
}

// switching switches a channel off and on, so that each request changes something. Mails are switched
// because push messages go to the same users.
func switching(u user) script {
	return inTurn(request("PATCH", preferencesPath, u.token, `{"email":false}`), request("PATCH", preferencesPath, u.token, `{"email":true}`))
}

// patch changes preferences.
func patch(_ context.Context, w *world) job {
	const changes = "SELECT sum(version) FROM preferences.preferences"
	service := w.load(w.service, restConnections, 4, switching)
	return job{
		what:  "PATCH preferences",
		bar:   0.6,
		floor: w.load(w.floor, restConnections, 4, switching),
		service: func(ctx context.Context, scale float64) round {
			before := w.number(ctx, changes)
			r := service(ctx, scale)
			if made := w.number(ctx, changes) - before; made != r.done {
				check(fmt.Errorf("%d requests made %d changes", r.done, made))
			}
			return r
		},
	}
}

// hashConnections are so many that no core waits for what there is to a login besides its hash.
const hashConnections = 16

// hashSeconds is the length of a round of hashes. There are few in a second, and at the beginning and the end of
// a round, when the first are looked up and the last are recorded, a core has none.
const hashSeconds = 6

// hashes is the floor of what needs a password: nothing but the hashes, on every core at once.
func (w *world) hashes(ctx context.Context, scale float64) round {
	var hashed struct {
		Done int
		Took time.Duration
	}
	check(json.Unmarshal(w.ask(ctx, "/hash?during="+seconds(hashSeconds, scale).String()), &hashed))
	return round{done: hashed.Done, took: hashed.Took}
}

// register makes users that nobody has seen before.
func register(_ context.Context, w *world) job {
	strangers := func(user) script {
		return func(int) []byte {
			return request("POST", usersPath, "", registrationOf(uuid.NewString()+"@example.com"))
		}
	}
	return job{what: "register", bar: 0.9, floor: w.hashes, service: w.load(w.service, hashConnections, hashSeconds, strangers)}
}

// login signs users in.
func login(_ context.Context, w *world) job {
	service := w.load(w.service, hashConnections, hashSeconds, func(u user) script { return inTurn(loginOf(u)) })
	return job{
		what:  "login",
		bar:   0.9,
		floor: w.hashes,
		service: func(ctx context.Context, scale float64) round {
			// An account has a hundred sessions at the most; to end some with each login is another job.
			must(w.db.ExecContext(ctx, "TRUNCATE auth.sessions CASCADE"))
			return service(ctx, scale)
		},
	}
}

func loginOf(u user) []byte {
	return request("POST", loginPath, "", fmt.Sprintf(`{"email":%q,"password":%q}`, u.email, password))
}

// script gives the request of each turn of a connection, nil when that is all.
type script func(turn int) []byte

func inTurn(requests ...[]byte) script {
	return func(turn int) []byte { return requests[turn%len(requests)] }
}

// load keeps connections to c busy, each with the requests of one user. Requests are written
// as they go over the wire and replies are hardly looked at: a client that takes much of the cores it
// shares with what is measured would make everything look alike.
func (w *world) load(c *child, connections int, length float64, requests func(user) script) side {
	turns := make([]int, connections) // go on from round to round
	return func(ctx context.Context, scale float64) (r round) {
		begin := time.Now()
		until := begin.Add(seconds(length, scale))
		var mu sync.Mutex
		var all errgroup.Group
		for i := range connections {
			mine := requests(w.users[i])
			all.Go(func() error {
				latencies, err := send(ctx, c.address, mine, &turns[i], until)
				mu.Lock()
				defer mu.Unlock()
				r.latencies = slices.Concat(r.latencies, latencies)
				return err
			})
		}
		check(all.Wait())
		r.took, r.done = time.Since(begin), len(r.latencies)
		return r
	}
}

// request is one of HTTP/1.1.
func request(method, path, token, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, token, len(body), body)
}

func send(ctx context.Context, address string, requests script, turn *int, until time.Time) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(until.Add(10 * time.Second)) // of a connection that is open
	in := bufio.NewReader(conn)
	for sent := time.Now(); sent.Before(until) && ctx.Err() == nil; {
		next := requests(*turn)
		if next == nil {
			break
		}
		if _, err := conn.Write(next); err != nil {
			return latencies, err
		}
		if err := skipReply(in); err != nil {
			return latencies, err
		}
		*turn++
		now := time.Now()
		latencies = append(latencies, now.Sub(sent))
		sent = now
	}
	return latencies, ctx.Err()
}

// skipReply takes any status but 2xx for an error: to refuse is quick.
func skipReply(in *bufio.Reader) error {
	status, err := readReply(in)
	if err == nil && status[0] != '2' {
		err = fmt.Errorf("the reply is %s", status)
	}
	return err
}

// readReply gives the status of the next reply.
func readReply(in *bufio.Reader) (status string, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(line) < 12 {
		return "", fmt.Errorf("the reply is %q", line)
	}
	status = string(line[9:12])
	length := -1
	for len(bytes.TrimSpace(line)) > 0 {
		if line, err = in.ReadSlice('\n'); err != nil {
			return "", err
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	_, err = in.Discard(length) // an error when it was not told
	return status, err
}

// ask has the floor's process do something that is not a request of the API.
func (w *world) ask(ctx context.Context, path string) []byte {
	return must(call(ctx, http.MethodPost, "http://"+w.floor.address+path, ""))
}
