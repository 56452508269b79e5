package batch

import (
	"context"
	"time"

	"user-service/platform/telemetry"
)

// Keyed has written together what is asked for at the same time, each under its key. What is asked for
// under a key that is being written waits: a statement touches no row twice, and it must see what became
// of the one before.
type Keyed[Asked, Answer any] struct {
	name  string // of the span each of them has
	write Write[Asked, Answer]
	group *Group[*request[Asked, Answer]]
}

// Write writes a batch and says what became of each of its keys.
type Write[Asked, Answer any] func(ctx context.Context, batch map[string]Asked) (map[string]Answer, error)

// request is what somebody has asked for, and what became of it.
type request[Asked, Answer any] struct {
	ctx    context.Context // its trace
	key    string
	asked  Asked
	answer Answer
	err    error
	alone  bool // in the batch
}

// Within bounds a batch: it is written for many, and no longer than each of them could wait.
const Within = 5 * time.Second

// NewKeyed makes one whose callers have a span of this name.
func NewKeyed[Asked, Answer any](name string, manner Manner, write Write[Asked, Answer]) *Keyed[Asked, Answer] {
	k := &Keyed[Asked, Answer]{name: name, write: write}
	k.group = New(manner, k.writeAll)
	k.group.key = func(r *request[Asked, Answer]) string { return r.key }
	return k
}

// Do returns when what is asked is written, or cannot be, or ctx has ended. What cannot be written fails
// nobody else: after a batch that failed each one writes for himself.
func (k *Keyed[Asked, Answer]) Do(ctx context.Context, key string, what Asked) (answer Answer, err error) {
	ctx, span := telemetry.Child(ctx, telemetry.Client, k.name)
	defer func() { span.End(err != nil) }()
	mine := &request[Asked, Answer]{ctx: ctx, key: key, asked: what}
	err = k.group.Do(ctx, mine)
	if ctx.Err() != nil && err != nil {
		return answer, err // mine may be written just now
	}
	if err == nil && (mine.err == nil || mine.alone) {
		return mine.answer, mine.err
	}
	answers, err := k.write(ctx, map[string]Asked{key: what}) // who made it panic does so again
	return answers[key], err
}

// Waiting is how many wait for a batch.
func (k *Keyed[Asked, Answer]) Waiting() int { return k.group.Waiting() }

// writeAll writes in the trace of the first, and for longer than its ctx may last.
func (k *Keyed[Asked, Answer]) writeAll(all []*request[Asked, Answer]) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(all[0].ctx), Within)
	defer cancel()
	batch := make(map[string]Asked, len(all))
	for _, r := range all {
		batch[r.key] = r.asked
	}
	answers, err := k.write(ctx, batch)
	for _, r := range all {
		r.answer, r.err, r.alone = answers[r.key], err, len(all) == 1
	}
}
