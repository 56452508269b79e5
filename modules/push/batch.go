package push

import (
	"context"
	"time"

	"user-service/platform/batch"
	"user-service/platform/telemetry"
)

// batches have written together what is asked for at the same time, each under its key.
type batches[Asked, Answer any] struct {
	name  string // of the span each of them has
	write func(ctx context.Context, batch map[string]Asked) (map[string]Answer, error)
	group *batch.Group[*place[Asked, Answer]]
}

// place is somebody's in a batch.
type place[Asked, Answer any] struct {
	ctx    context.Context // its trace
	key    string
	asked  Asked
	answer Answer
	err    error
	alone  bool // in the batch
}

// batchesAtOnce of a kind. With one, all wait for a batch that is slow: the p99 from publish to provider
// was twice to four times as long. With four or eight they are too small to save anything.
const batchesAtOnce = 2

func newBatches[Asked, Answer any](name string, atOnce int, write func(context.Context, map[string]Asked) (map[string]Answer, error)) *batches[Asked, Answer] {
	b := &batches[Asked, Answer]{name: name, write: write}
	b.group = batch.New(atOnce, b.writeAll)
	return b
}

// writeWithin bounds a batch: it is written for many, and no longer than each of them could wait.
const writeWithin = 5 * time.Second

// do returns when asked is written, or cannot be. What cannot be written fails nobody else: after a
// batch that failed each one writes for himself.
func (b *batches[Asked, Answer]) do(ctx context.Context, key string, asked Asked) (answer Answer, err error) {
	ctx, span := telemetry.Child(ctx, telemetry.Client, b.name)
	defer func() { span.End(err != nil) }()
	mine := &place[Asked, Answer]{ctx: ctx, key: key, asked: asked}
	err = b.group.Do(context.WithoutCancel(ctx), mine)
	if err == nil && (mine.err == nil || mine.alone) {
		return mine.answer, mine.err
	}
	answers, err := b.write(ctx, map[string]Asked{key: asked})
	return answers[key], err
}

// writeAll writes one batch after another until no key comes twice in any: a statement touches no row
// twice, and who comes later must see what became of the first.
func (b *batches[Asked, Answer]) writeAll(places []*place[Asked, Answer]) {
	for len(places) > 0 {
		asked := make(map[string]Asked, len(places))
		var now, later []*place[Asked, Answer]
		for _, p := range places {
			if _, taken := asked[p.key]; taken {
				later = append(later, p)
				continue
			}
			asked[p.key] = p.asked
			now = append(now, p)
		}
		answers, err := b.writeWithin(now[0].ctx, asked)
		for _, p := range now {
			p.answer, p.err, p.alone = answers[p.key], err, len(now) == 1
		}
		places = later
	}
}

// writeWithin writes in the trace of the first.
func (b *batches[Asked, Answer]) writeWithin(ctx context.Context, asked map[string]Asked) (map[string]Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	defer cancel()
	return b.write(ctx, asked)
}
