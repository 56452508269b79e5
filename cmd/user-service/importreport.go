package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"user-service/modules/auth"
)

// batch is what goes into one transaction of an import, and what became of it.
type batch struct {
	seen     int
	accounts []auth.NewAccount
	mended   map[string][]string // id → what was changed
	refused  map[string][]string // why → ids
	outcome  auth.Imported
}

func newBatch(users []djangoUser, now time.Time) *batch {
	b := &batch{seen: len(users), mended: map[string][]string{}, refused: map[string][]string{}}
	for _, user := range users {
		account, mended, refusal := user.account(now)
		if refusal != "" {
			b.refused[refusal] = append(b.refused[refusal], user.ID)
			continue
		}
		b.accounts, b.mended[account.ID] = append(b.accounts, account), mended
	}
	return b
}

// reasons counts, and keeps the first ids of each: never an address or a hash.
type reasons []reason

type reason struct {
	text  string
	count int
	first []string
}

const idsShown = 3

func (r *reasons) add(text string, ids ...string) {
	if len(ids) == 0 {
		return
	}
	i := slices.IndexFunc(*r, func(known reason) bool { return known.text == text })
	if i < 0 {
		i = len(*r)
		*r = append(*r, reason{text: text})
	}
	one := &(*r)[i]
	one.count += len(ids)
	one.first = append(one.first, ids[:min(len(ids), max(idsShown-len(one.first), 0))]...)
}

// tally is what an import has done so far.
type tally struct {
	total, seen, imported, known int
	skipped, mended              reasons
}

func newTally(total int) *tally { return &tally{total: total} }

// add counts a batch that is committed.
func (t *tally) add(b *batch) {
	t.seen += b.seen
	t.imported += len(b.outcome.Added)
	t.known += len(b.outcome.Known)
	for _, why := range []string{noID, noEmail} {
		t.skipped.add(why, b.refused[why]...)
	}
	t.skipped.add(emailTaken, b.outcome.Taken...)
	for _, id := range b.outcome.Added {
		for _, what := range b.mended[id] {
			t.mended.add(what, id)
		}
	}
}

func (t *tally) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "imported\t%d\t\n", t.imported)
	t.mended.print(table)
	_, _ = fmt.Fprintf(table, "already there\t%d\tleft as they are\n", t.known)
	_, _ = fmt.Fprintf(table, "skipped\t%d\t\n", t.skipped.count())
	t.skipped.print(table)
	_ = table.Flush()
}

func (r *reasons) count() (n int) {
	for _, one := range *r {
		n += one.count
	}
	return n
}

func (r *reasons) print(w io.Writer) {
	for _, one := range *r {
		more := ""
		if one.count > len(one.first) {
			more = ", …"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%d\t%s%s\n", one.text, one.count, strings.Join(one.first, ", "), more)
	}
}
