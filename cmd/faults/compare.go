package main

import (
	"context"
	"fmt"
	"time"
)

// compare judges all that was acknowledged.
func (w *world) compare(ctx context.Context, plan []fault, r *report) {
	j := &judge{counts: make([][verdicts]int, len(plan))}
	kept := w.readDatabase(ctx)
	w.compareDatabase(j, kept)
	for _, l := range w.listeners {
		events, err := l.all()
		if err != nil {
			r.found("%v", err)
		}
		last := j.numbered(l.name, events, w.during)
		for stream, n := range kept.sequences {
			j.counted(l.name+", numbers of "+stream, len(plan)-1, n, last["/user-service/"+stream])
		}
		w.compareEvents(j, l.name, events, kept)
		r.Events = append(r.Events, len(events))
	}
	w.compareProvider(j, plan, kept, r)
	if w.restless != "" {
		r.found("%s", w.restless)
	}
	r.Findings = append(r.Findings, j.findings...)
	for n := range plan {
		row := &r.Faults[n]
		row.Lost, row.Twice, row.Disordered = j.counts[n][lost], j.counts[n][twice], j.counts[n][disordered]
		row.Stale, row.Late = len(w.record.stale[n]), w.record.late[n]
		for _, broken := range row.Broken {
			r.found("%s: %s", row.Name, broken)
		}
		for _, stale := range some(w.record.stale[n]) {
			r.found("stale read during %s: %s", row.Name, stale)
		}
		for _, wrong := range some(w.record.wrong[n]) {
			r.found("during %s: %s", row.Name, wrong)
		}
	}
}

// some are enough to tell.
func some(all []string) []string { return all[:min(len(all), enough)] }

// during is the fault that was on at a time.
func (w *world) during(t time.Time) int {
	n := 0
	for n+1 < len(w.began) && w.began[n+1].Before(t) {
		n++
	}
	return n
}

// kept is what the database has.
type kept struct {
	names, states, emails map[string]string // by user
	versions              map[string]int    // of preferences, by user
	sequences             map[string]int    // by source and user
	outcomes              map[string]string // by request id
}

func (w *world) readDatabase(ctx context.Context) kept {
	k := kept{names: map[string]string{}, states: map[string]string{}, emails: map[string]string{}, versions: map[string]int{}, sequences: map[string]int{}, outcomes: map[string]string{}}
	var a, b string
	var n int
	w.each(ctx, `SELECT id, name FROM profile.users`, func() { k.names[a] = b }, &a, &b)
	w.each(ctx, `SELECT id, email FROM auth.accounts`, func() { k.emails[a] = b }, &a, &b)
	var p preferences
	w.each(ctx, `SELECT user_id, email, push, version FROM preferences.preferences`, func() { k.states[a], k.versions[a] = p.String(), n }, &a, &p.Email, &p.Push, &n)
	w.each(ctx, `SELECT source || ' ' || subject, last FROM messaging.sequences`, func() { k.sequences[a] = n }, &a, &n)
	w.each(ctx, `SELECT request_id, status FROM push.deliveries`, func() { k.outcomes[a] = b }, &a, &b)
	return k
}

// each scans the rows of a query one after another into dest.
func (w *world) each(ctx context.Context, query string, row func(), dest ...any) {
	rows, err := w.db.QueryContext(ctx, query)
	check(err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		check(rows.Scan(dest...))
		row()
	}
	check(rows.Err())
}

func (w *world) compareDatabase(j *judge, k kept) {
	for _, a := range w.ledger.accounts {
		whose := "database, " + a.id
		last := note{name(0), a.registered.during}
		if len(a.names) > 0 {
			last = a.names[len(a.names)-1]
		}
		j.inOrder(whose+", address", []note{{a.email, a.registered.during}}, present(k.emails, a.id))
		j.inOrder(whose+", name", []note{last}, present(k.names, a.id))
		last = note{state(0).String(), a.registered.during}
		if len(a.states) > 0 {
			last = a.states[len(a.states)-1]
		}
		j.inOrder(whose+", preferences", []note{last}, present(k.states, a.id))
		j.counted(whose+", changes of preferences", last.during, len(a.states), k.versions[a.id]-1)
		j.counted(whose+", numbers of preferences", last.during, len(a.states), k.sequences["preferences "+a.id])
		j.counted(whose+", numbers of profile", last.during, len(a.names), k.sequences["profile "+a.id])
		j.counted(whose+", numbers of auth", a.registered.during, 1+a.logins, k.sequences["auth "+a.id])
		for _, push := range a.pushes {
			switch status := k.outcomes[push.value]; status {
			case "sent", "skipped":
			case "failed":
				j.find(lost, push.during, "%s: message %s was given up", whose, push.value)
			default:
				j.find(lost, push.during, "%s: message %s has the status %q", whose, push.value, status)
			}
		}
	}
	j.counted("database, accounts", 0, len(w.ledger.accounts)+len(w.probes), len(k.emails))
}

func present(values map[string]string, key string) []string {
	if value, found := values[key]; found {
		return []string{value}
	}
	return nil
}

// compareEvents wants one event of each thing that was acknowledged.
func (w *world) compareEvents(j *judge, listener string, events []event, k kept) {
	heard := map[string][]string{} // by kind and user
	for _, e := range events {
		kind, value := e.Type, e.ID
		switch e.Type {
		case "user.profile_updated":
			value = e.Data.Name
		case "user.preferences_changed":
			value = preferences{Email: e.Data.Email == true, Push: e.Data.Push}.String()
		case "push.sent", "push.skipped", "push.failed":
			kind, value = "push", e.Data.RequestID
			if told := e.Type[len("push."):]; told != k.outcomes[value] {
				j.find(lost, w.during(e.Time), "%s: %s tells of %s, and the database of %q", listener, e.Type, value, k.outcomes[value])
			}
		}
		heard[kind+" "+e.Subject] = append(heard[kind+" "+e.Subject], value)
	}
	for _, a := range w.ledger.accounts {
		whose := fmt.Sprintf("%s, %s", listener, a.id)
		j.counted(whose+", user.registered", a.registered.during, 1, len(heard["user.registered "+a.id]))
		j.counted(whose+", user.logged_in", a.registered.during, a.logins, len(heard["user.logged_in "+a.id]))
		j.inOrder(whose+", user.profile_updated", a.names, heard["user.profile_updated "+a.id])
		j.inOrder(whose+", user.preferences_changed", a.states, heard["user.preferences_changed "+a.id])
		j.each(whose+", push.*", a.pushes, heard["push "+a.id])
	}
}

// compareProvider wants every message that is sent to have been accepted, and no more of them to have been
// tried again after that than were in the works of those who were killed.
func (w *world) compareProvider(j *judge, plan []fault, k kept, r *report) {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	for _, a := range w.ledger.accounts {
		for _, push := range a.pushes {
			times := w.provider.accepted[push.value]
			if k.outcomes[push.value] == "sent" && times == 0 {
				j.find(lost, push.during, "provider: message %s is said to be sent", push.value)
			}
			if times > 0 && k.outcomes[push.value] != "sent" {
				// Nobody heard that it was accepted; when it was tried again, pushes were switched off.
				r.Faults[push.during].Again++
				r.Again++
			}
		}
	}
	allowed := 0
	for _, f := range plan {
		allowed += f.repeats
	}
	for id, times := range w.provider.accepted {
		if times > 1 {
			r.Faults[w.provider.repeats[id]].Again += times - 1
			r.Again += times - 1
		}
	}
	if r.Again > allowed {
		r.found("%d messages were tried again that the provider had accepted, and only %d were in the works of who was killed", r.Again, allowed)
	}
}
