package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
)

const password = "correct horse battery staple"

// person is a simulated user: does one thing after another, and insists on each until it is done.
type person struct {
	*world
	rnd *rand.Rand
	*account
}

// live goes on until stop is closed, at a pace that is random but has a mean.
func (p *person) live(ctx context.Context, stop <-chan struct{}, pace time.Duration) {
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(p.rnd.ExpFloat64() * float64(pace))):
		}
		if err := p.act(ctx); err != nil && ctx.Err() == nil {
			p.record.sawWrong(err)
		}
	}
}

func (p *person) act(ctx context.Context) error {
	switch dice := p.rnd.IntN(1000); {
	case dice < 5:
		return p.register(ctx)
	case dice < 10:
		return p.login(ctx)
	case dice < 330:
		return p.rename(ctx)
	case dice < 560:
		return p.switchChannels(ctx)
	case dice < 700:
		return p.look(ctx, p.rnd.IntN(2), "a look")
	default:
		return p.push(ctx, 1+p.rnd.IntN(3))
	}
}

// ask is done when it is acknowledged; anything but 2xx is a broken promise.
func (p *person) ask(ctx context.Context, instance int, r request) (json.RawMessage, int, error) {
	a, at, err := p.client.insist(ctx, instance, r)
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("%s %s was answered %d %s", r.method, r.path, a.status, a.Error)
	}
	if err == nil {
		p.record.acked.Add(1)
	}
	return a.Data, at, err
}

type credentials struct {
	AccessToken string `json:"access_token"`
	User        struct{ ID string }
}

// register makes the person somebody new; who it was is left as it is.
func (p *person) register(ctx context.Context) error {
	a := &account{email: "faults-" + uuid.NewString() + "@example.com", pushToken: strings.ReplaceAll(uuid.NewString()+uuid.NewString(), "-", "")}
	data, at, err := p.ask(ctx, p.rnd.IntN(2), request{method: "POST", path: "/users/", id: uuid.NewString(), body: map[string]any{
		"name": name(0), "email": a.email, "password": password, "push_token": a.pushToken,
	}})
	if err != nil {
		return err
	}
	var made credentials
	if err := json.Unmarshal(data, &made); err != nil {
		return err
	}
	a.id, a.token, a.registered = made.User.ID, made.AccessToken, note{made.User.ID, p.record.during()}
	p.account = a
	p.ledger.add(a)
	return p.look(ctx, 1-at, "registration")
}

func (p *person) login(ctx context.Context) error {
	data, at, err := p.ask(ctx, p.rnd.IntN(2), request{method: "POST", path: "/auth/login/", id: uuid.NewString(), body: map[string]any{
		"email": p.email, "password": password,
	}})
	if err != nil {
		return err
	}
	p.logins++
	var made credentials
	if err := json.Unmarshal(data, &made); err != nil {
		return err
	}
	p.token = made.AccessToken
	return p.look(ctx, 1-at, "login")
}

func name(n int) string { return fmt.Sprintf("Person %d", n) }

func (p *person) rename(ctx context.Context) error {
	next := name(len(p.names) + 1)
	_, at, err := p.ask(ctx, p.rnd.IntN(2), request{method: "PATCH", path: "/users/profile/", token: p.token, id: uuid.NewString(), body: map[string]string{"name": next}})
	if err != nil {
		return err
	}
	p.names = append(p.names, note{next, p.record.during()})
	return p.look(ctx, 1-at, "PATCH profile")
}

func (p *person) switchChannels(ctx context.Context) error {
	next := state(len(p.states) + 1)
	_, at, err := p.ask(ctx, p.rnd.IntN(2), request{method: "PATCH", path: "/users/preferences/", token: p.token, id: uuid.NewString(), body: next})
	if err != nil {
		return err
	}
	p.states = append(p.states, note{next.String(), p.record.during()})
	return p.look(ctx, 1-at, "PATCH preferences")
}

// push has some messages be published for the person, all at once.
func (p *person) push(ctx context.Context, n int) error {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	if err := p.producer.publish(ctx, p.id, ids); err != nil {
		return err
	}
	for _, id := range ids {
		p.pushes = append(p.pushes, note{id, p.record.during()})
	}
	p.record.acked.Add(int64(n))
	return nil
}

// look reads at one instance what was acknowledged by another. A read that shows less is stale; while
// Redis is out of an instance's reach, only if it does so a second later still.
func (p *person) look(ctx context.Context, instance int, after string) error {
	since := time.Now()
	for first := true; ; first = false {
		asked := time.Now()
		shown, err := p.shown(ctx, instance)
		if err != nil {
			return err
		}
		wanted := p.expected()
		if shown == wanted {
			if !first {
				p.record.sawLate()
			}
			return nil
		}
		if !p.cacheMayLag(asked) || asked.Sub(since) > lagFor {
			p.record.sawStale(fmt.Sprintf("after %s, instance %d showed %q to %s, not %q", after, instance+1, shown, p.id, wanted))
			return nil
		}
	}
}

// expected is what the profile must show.
func (a *account) expected() string {
	return name(len(a.names)) + " " + state(len(a.states)).String()
}

// shown reads the profile, which has all, or the preferences, which have their own cache.
func (p *person) shown(ctx context.Context, instance int) (string, error) {
	if p.rnd.IntN(3) == 0 {
		data, _, err := p.ask(ctx, instance, request{method: "GET", path: "/users/preferences/", token: p.token})
		if err != nil {
			return "", err
		}
		var kept preferences
		err = json.Unmarshal(data, &kept)
		return name(len(p.names)) + " " + kept.String(), err
	}
	data, _, err := p.ask(ctx, instance, request{method: "GET", path: "/users/profile/", token: p.token})
	if err != nil {
		return "", err
	}
	var user struct {
		Name        string
		Preferences preferences
	}
	err = json.Unmarshal(data, &user)
	return user.Name + " " + user.Preferences.String(), err
}
