package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"user-service/platform/postgres"
)

// encodeJSON leaves < and > as they are, like the replies that values become part of.
func encodeJSON(value any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// changes are what one transaction did to cached rows; they are announced and written together.
type changes struct {
	entries   []entry
	announced int       // how many of them
	since     time.Time // of the first announcement
	in        *namespace
	raised    bool // the epoch stands for the announcement
}

// Changed says that the transaction of ctx makes version of the row behind key, with this value.
// Call it inside the transaction, once the row is changed.
func (c *Cache) Changed(ctx context.Context, key string, version int64, value any) error {
	made, err := postgres.Local[changes](ctx, c)
	if err != nil {
		return err
	}
	made.entries = append(made.entries, entry{key, version, value})
	if len(made.entries) > made.announced+1 {
		return nil // will be announced with the one before it
	}
	return postgres.BeforeCommit(ctx, func(ctx context.Context) error { return c.announce(ctx, made) })
}

// announce runs inside the transaction, which need not wait for Redis before its last statement is done: when
// Redis cannot be told, the epoch is raised with it.
func (c *Cache) announce(ctx context.Context, made *changes) error {
	if made.announced == 0 { // only now, so that what others do after the commit need not wait for Redis
		if err := postgres.AfterCommit(ctx, func(ctx context.Context) { c.forward(ctx, made) }); err != nil {
			return err
		}
	}
	waiting := made.entries[made.announced:]
	made.announced = len(made.entries)
	if made.raised {
		return nil
	}
	if made.in == nil {
		made.in, made.since = c.writable(ctx), time.Now()
	}
	var told chan error
	if made.in != nil {
		var announced []entry
		for _, change := range waiting {
			announced = append(announced, entry{key: made.in.prefix + change.key, version: change.version})
			if made.in.old != "" && time.Now().Before(made.in.readable) {
				announced = append(announced, entry{key: made.in.old + change.key, version: change.version})
			}
		}
		told = make(chan error, 1)
		go func() { told <- c.put(ctx, announced, announceFor, callTimeout) }()
	}
	return postgres.BeforeCommit(ctx, func(ctx context.Context) error { return c.announced(ctx, made, told) })
}

// announced waits for Redis, and raises the epoch when it could not be told, or not asked at all.
func (c *Cache) announced(ctx context.Context, made *changes, told <-chan error) error {
	if told != nil {
		err := <-told
		if err == nil {
			return nil
		}
		c.lost(ctx, err)
	}
	if made.raised {
		return nil
	}
	made.raised = true
	return c.raise(ctx)
}

// writable is the namespace to announce in. An instance too busy to look in time looks now, in the
// transaction: when it raises the epoch instead, the others go on reading until they have seen it.
func (c *Cache) writable(ctx context.Context) *namespace {
	if ns := c.trusted(); ns != nil || c.known.Load().prefix == "" {
		return ns
	}
	if err := c.refresh(ctx); err != nil {
		c.lost(ctx, err)
	}
	return c.trusted()
}

func (c *Cache) raise(ctx context.Context) error {
	_, err := c.db.Exec(ctx, `UPDATE cache.epoch SET epoch = epoch + 1`)
	return err
}

// forward is best effort: what it cannot write stays announced, and readers ask PostgreSQL. Only
// after a slow commit others may have left for another namespace, where nothing is announced.
func (c *Cache) forward(ctx context.Context, made *changes) {
	if made.raised {
		c.distrust() // the epoch that this instance knows is over
		return
	}
	if ns := c.trusted(); ns != nil {
		values := make([]entry, len(made.entries))
		for i, change := range made.entries {
			values[i] = entry{ns.prefix + change.key, change.version, change.value}
		}
		err := c.put(ctx, values, c.ttl, callTimeout)
		if err == nil {
			return
		}
		c.lost(ctx, err)
	}
	if time.Since(made.since) > commitFor {
		if err := c.raise(ctx); err != nil {
			c.log.ErrorContext(ctx, "a change could not be told to the cache", "error", err)
		}
		c.distrust()
	}
}
