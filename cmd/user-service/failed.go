package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"user-service/messaging"
	"user-service/modules/push"
	"user-service/platform/logging"
)

type failedCommand struct {
	List    failedList    `cmd:"" help:"List what is in the failed queue, the oldest first. Example: user-service failed list --reason provider_rejected"`
	Show    failedShow    `cmd:"" help:"Show a dead letter whole. Example: user-service failed show 7b1c8c1e-unique-id"`
	Requeue failedRequeue `cmd:"" help:"Give dead letters back to the queues that they came from, with all their attempts before them. Example: user-service failed requeue --reason unknown_template --dry-run"`
	Drop    failedDrop    `cmd:"" help:"Delete dead letters for good. Example: user-service failed drop --older-than 720h"`
}

// failedFilter chooses among the dead letters.
type failedFilter struct {
	Reason    string        `help:"Only those that failed for this reason." placeholder:"REASON"`
	Template  string        `help:"Only those of this template." placeholder:"CODE"`
	OlderThan time.Duration `help:"Only those that failed longer ago, as in 90m or 24h." placeholder:"DURATION"`
}

func (f failedFilter) choice() push.Choice {
	return push.Choice{Reason: f.Reason, Template: f.Template, OlderThan: f.OlderThan}
}

type (
	failedList struct {
		failedFilter
		Limit int `default:"100" help:"How many to list at the most."`
	}
	failedShow struct {
		ID string `arg:"" help:"Id, as the list shows it."`
	}
	failedChoice struct {
		failedFilter
		IDs    []string `arg:"" optional:"" name:"id" help:"Ids, as the list shows them."`
		All    bool     `help:"All that there are."`
		DryRun bool     `help:"Only say how many it would be."`
	}
	failedRequeue struct{ failedChoice }
	failedDrop    struct{ failedChoice }
)

// Validate is asked by kong.
func (f failedFilter) Validate() error {
	if f.OlderThan < 0 {
		return errors.New("--older-than must not be below zero")
	}
	return nil
}

// Validate is asked by kong.
func (f failedList) Validate() error {
	if f.Limit < 1 {
		return errors.New("--limit must be 1 or more")
	}
	return f.failedFilter.Validate()
}

// Run prints a table.
func (f failedList) Run(ctx context.Context) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	listed, seen, all := 0, 0, 0
	err := withFailedQueue(ctx, func(queue messaging.FailedQueue) error {
		_, err := queue.Walk(ctx, func(n, of int, letter messaging.DeadLetter) (messaging.Verdict, bool) {
			seen, all = n, of
			if what := describe(letter); f.choice().Takes(letter, what) {
				if listed++; listed == 1 {
					_, _ = fmt.Fprintln(table, "ID\tREASON\tTEMPLATE\tQUEUE\tATTEMPTS\tFAILED\tDETAIL")
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", what.ID, printable(letter.Reason, 40), printable(what.TemplateCode, 40),
					printable(letter.Queue, 40), letter.Attempt, whenKnown(letter.FailedAt), printable(letter.Detail, 80))
			}
			return messaging.Keep, listed < f.Limit
		})
		return err
	})
	if err != nil {
		return err
	}
	if seen < all {
		defer fmt.Fprintf(os.Stderr, "%d more are in the queue; --limit shows more of them.\n", all-seen)
	}
	switch {
	case all == 0:
		fmt.Fprintln(os.Stderr, "The failed queue is empty.")
	case listed == 0:
		fmt.Fprintf(os.Stderr, "None of the %d messages in the failed queue is one of these.\n", all)
	}
	return table.Flush()
}

// Run prints headers and body.
func (f failedShow) Run(ctx context.Context) error {
	found := false
	err := withFailedQueue(ctx, func(queue messaging.FailedQueue) error {
		_, err := queue.Walk(ctx, func(_, _ int, letter messaging.DeadLetter) (messaging.Verdict, bool) {
			what := describe(letter)
			if found = what.ID == f.ID; found {
				show(letter, what)
			}
			return messaging.Keep, !found
		})
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("no message in the failed queue has the id %q; `user-service failed list` shows those there are", f.ID)
	}
	return err
}

func show(letter messaging.DeadLetter, what push.Described) {
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", what.ID}, {"user", what.UserID}, {"template", what.TemplateCode}, {"reason", letter.Reason}, {"detail", letter.Detail},
		{"queue", letter.Queue}, {"attempts", fmt.Sprint(letter.Attempt)}, {"failed", whenKnown(letter.FailedAt)},
		{"correlation id", letter.CorrelationID}, {"content type", letter.ContentType},
	} {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", line[0], printable(line[1], 4096))
	}
	for _, name := range slices.Sorted(maps.Keys(letter.Headers)) {
		_, _ = fmt.Fprintf(table, "header %s\t%s\n", printable(name, 255), printable(fmt.Sprint(letter.Headers[name]), 4096))
	}
	_ = table.Flush()
	var pretty bytes.Buffer
	if json.Indent(&pretty, letter.Body, "", "  ") == nil {
		fmt.Printf("\n%s\n", pretty.Bytes())
		return
	}
	fmt.Printf("\n%q\n", letter.Body)
}

// Run gives them back.
func (f failedRequeue) Run(ctx context.Context) error {
	return f.decide(ctx, messaging.Requeue, "requeued")
}

// Run deletes them.
func (f failedDrop) Run(ctx context.Context) error { return f.decide(ctx, messaging.Drop, "dropped") }

func (f failedChoice) decide(ctx context.Context, verdict messaging.Verdict, done string) error {
	choice := f.choice()
	choice.IDs = f.IDs
	if choice.IsEmpty() && !f.All {
		return errors.New("say which: ids, --reason, --template, --older-than, or --all")
	}
	if f.DryRun {
		verdict, done = messaging.Keep, "would be "+done
	}
	var shown *progress
	var walked messaging.Walked
	chosen, all := 0, 0
	err := withFailedQueue(ctx, func(queue messaging.FailedQueue) (err error) {
		walked, err = queue.Walk(ctx, func(n, of int, letter messaging.DeadLetter) (messaging.Verdict, bool) {
			if all = of; shown == nil {
				shown = newProgress(os.Stderr, of, "going through", "messages")
			}
			shown.at(n)
			if !choice.Takes(letter, describe(letter)) {
				return messaging.Keep, true
			}
			chosen++
			return verdict, true
		})
		return err
	})
	if shown != nil {
		shown.end()
	}
	if !f.DryRun {
		chosen = walked.Done
	}
	fmt.Printf("%d of %d %s\n", chosen, all, done)
	switch {
	case err != nil:
		return err
	case walked.Stuck > 0:
		return fmt.Errorf("%d stay where they are: %w", walked.Stuck, walked.Why)
	case chosen < len(f.IDs):
		return fmt.Errorf("only %d of the %d ids are in the failed queue, or fit the rest of what was asked", chosen, len(f.IDs))
	}
	return nil
}

// describe has an id that a terminal shows and an operator can type.
func describe(letter messaging.DeadLetter) push.Described {
	what := push.Describe(letter)
	what.ID = printable(what.ID, 255)
	return what
}

// printable keeps what strangers wrote from the terminal's controls and within one line.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}

func whenKnown(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return when(&t)
}

// brokerWithin is how long an operator waits for a broker that is away.
const brokerWithin = 10 * time.Second

func withFailedQueue(ctx context.Context, fn func(messaging.FailedQueue) error) error {
	c, faults := brokerConfig()
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "\nuser-service: "))
	}
	topology := c.topology()
	conn := messaging.NewConnection(c.RabbitMQURL, "user-service failed", topology, logging.New(os.Stderr, c.LogLevel, true))
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = conn.Run(ctx) })
	defer running.Wait()
	defer stop()
	if err := conn.Connected(ctx, brokerWithin); err != nil {
		return fmt.Errorf("the message broker is out of reach: %w (RABBITMQ_URL, or RABBITMQ_HOST …)", err)
	}
	return fn(messaging.FailedQueue{Connection: conn, Publisher: messaging.NewPublisher(conn), Topology: topology})
}
