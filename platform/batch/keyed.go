package batch

import (
	"context"
	"time"

	"user-service/platform/telemetry"
)

// Keyed has written together what is asked for at the same time, each under its key.
type Keyed[Asked, Answer any] struct {
	name  string // of the span each of them has
	write Write[Asked, Answer]
	group *Group[*asked[Asked, Answer]]
}

// Write writes a batch and says what became of each of its keys.
type Write[Asked, Answer any] func(ctx context.Context, batch map[string]Asked) (map[string]Answer, error)

// asked is what somebody has asked for.
type asked[Asked, Answer any] struct {
	ctx    context.Context // its trace
	key    string
	asked  Asked
	answer Answer
	err    error
	done   bool // written, or not: answer and err say so
	alone  bool // in the batch
}

// AtOnce is how many batches of a kind are written at once. With one, all wait for a batch that is slow:
// the p99 of a push message from publish to provider was twice to four times as long. With four or
// eight they are too small to save anything.
const AtOnce = 2

// Within bounds a batch: it is written for many, and no longer than each of them could wait.
const Within = 5 * time.Second

// NewKeyed makes one whose callers have a span of this name.
func NewKeyed[Asked, Answer any](name string, write Write[Asked, Answer]) *Keyed[Asked, Answer] {
	k := &Keyed[Asked, Answer]{name: name, write: write}
	k.group = New(AtOnce, k.writeAll)
	return k
}

// Do returns when what is asked is written, or cannot be. What cannot be written fails nobody else: after
// a batch that failed each one writes for himself.
func (k *Keyed[Asked, Answer]) Do(ctx context.Context, key string, what Asked) (answer Answer, err error) {
	ctx, span := telemetry.Child(ctx, telemetry.Client, k.name)
	defer func() { span.End(err != nil) }()
	mine := &asked[Asked, Answer]{ctx: ctx, key: key, asked: what}
	_ = k.group.Do(context.WithoutCancel(ctx), mine) // who made it panic does so again, below
	if mine.done && (mine.err == nil || mine.alone) {
		return mine.answer, mine.err
	}
	answers, err := k.write(ctx, map[string]Asked{key: what})
	return answers[key], err
}

// Waiting is how many wait for a batch.
func (k *Keyed[Asked, Answer]) Waiting() int { return k.group.Waiting() }

// writeAll writes one batch after another until no key comes twice in any: a statement touches no row
// twice, and who comes later must see what became of the first.
func (k *Keyed[Asked, Answer]) writeAll(all []*asked[Asked, Answer]) {
	for len(all) > 0 {
		batch := make(map[string]Asked, len(all))
		var now, later []*asked[Asked, Answer]
		for _, a := range all {
			if _, taken := batch[a.key]; taken {
				later = append(later, a)
				continue
			}
			batch[a.key] = a.asked
			now = append(now, a)
		}
		answers, err := k.writeFor(now[0].ctx, batch)
		for _, a := range now {
			a.answer, a.err, a.done, a.alone = answers[a.key], err, true, len(now) == 1
		}
		all = later
	}
}

// writeFor writes in the trace of ctx, and for longer than it may last.
func (k *Keyed[Asked, Answer]) writeFor(ctx context.Context, batch map[string]Asked) (map[string]Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Within)
	defer cancel()
	return k.write(ctx, batch)
}
