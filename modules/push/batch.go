package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"user-service/platform/telemetry"
)

// batches have written together what is asked for at the same time: a round trip, and a commit that
// must reach the disk, cost many hardly more than one. Who comes when a turn is free waits for nobody;
// while all are taken the next batch gathers, so that it is the larger the more there is to do.
type batches[Asked, Answer any] struct {
	name  string // of the span each of them has
	write func(ctx context.Context, batch map[string]Asked) (map[string]Answer, error)
	turn  chan struct{} // one is held by each who writes for all

	mu      sync.Mutex
	waiting []*place[Asked, Answer]
}

// place is somebody's in a batch.
type place[Asked, Answer any] struct {
	key     string
	asked   Asked
	taken   chan struct{} // closed when a batch has it
	written chan struct{} // closed when what follows is known
	answer  Answer
	err     error
	alone   bool // in the batch
}

// batchesAtOnce of a kind. With one, all wait for a batch that is slow: the p99 from publish to provider
// was twice to four times as long. With four or eight they are too small to save anything.
const batchesAtOnce = 2

func newBatches[Asked, Answer any](name string, atOnce int, write func(context.Context, map[string]Asked) (map[string]Answer, error)) *batches[Asked, Answer] {
	return &batches[Asked, Answer]{name: name, write: write, turn: make(chan struct{}, atOnce)}
}

// writeWithin bounds a batch: it is written for many, and no longer than each of them could wait.
const writeWithin = 5 * time.Second

var errNotWritten = errors.New("push: the batch was not written")

// do returns when asked is written, or cannot be. What cannot be written fails nobody else: after a
// batch that failed each one writes for himself.
func (b *batches[Asked, Answer]) do(ctx context.Context, key string, asked Asked) (answer Answer, err error) {
	ctx, span := telemetry.Child(ctx, telemetry.Client, b.name)
	defer func() { span.End(err != nil) }()
	mine := &place[Asked, Answer]{key: key, asked: asked, taken: make(chan struct{}), written: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, mine)
	b.mu.Unlock()
	for {
		select {
		case b.turn <- struct{}{}:
			b.writeNext(ctx)
		case <-mine.taken: // and no turn is of any use any more
			<-mine.written
			if mine.err == nil || mine.alone {
				return mine.answer, mine.err
			}
			answers, err := b.write(ctx, map[string]Asked{key: asked})
			return answers[key], err
		}
	}
}

// writeNext writes what waits, in the trace of the one who has the turn.
func (b *batches[Asked, Answer]) writeNext(ctx context.Context) {
	places := b.next()
	answers, err := map[string]Answer(nil), errNotWritten // when write panics, too
	defer func() {
		for key, p := range places {
			p.answer, p.err, p.alone = answers[key], err, len(places) == 1
			close(p.written)
		}
		<-b.turn
	}()
	if len(places) == 0 { // another has them all
		return
	}
	batch := make(map[string]Asked, len(places))
	for key, p := range places {
		batch[key] = p.asked
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	defer cancel()
	answers, err = b.write(ctx, batch)
}

// next takes all who wait. Of a key that several have, the later ones wait for the batch after: a
// statement touches no row twice, and they must see what became of the first.
func (b *batches[Asked, Answer]) next() map[string]*place[Asked, Answer] {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := make(map[string]*place[Asked, Answer], len(b.waiting))
	var later []*place[Asked, Answer]
	for _, p := range b.waiting {
		if batch[p.key] != nil {
			later = append(later, p)
			continue
		}
		batch[p.key] = p
		close(p.taken)
	}
	b.waiting = later
	return batch
}
