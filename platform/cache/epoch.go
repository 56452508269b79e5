package cache

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Run learns the namespace in use until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		c.Learn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Learn looks once, if it can, which namespace is in use. It comes before the first request: who changes a row
// without knowing one has to raise the epoch, and others see that some time later only.
func (c *Cache) Learn(ctx context.Context) {
	before := c.known.Load()
	call, cancel := context.WithTimeout(ctx, trustFor)
	defer cancel()
	c.leave(ctx, before, c.refresh(call))
}

func (c *Cache) refresh(ctx context.Context) error {
	asked := time.Now() // what is learned may be as old as the question
	before := c.known.Load()
	prefix, err := c.prefix(ctx)
	if err != nil {
		return err
	}
	if before.prefix == "" || before.left { // a server that was away may have lost the script
		if err := store.Load(ctx, c.redis).Err(); err != nil {
			return err
		}
		c.log.Info("cache in reach")
	}
	c.learn(before, prefix, asked)
	return nil
}

// learn takes note of the prefix that was in use when asked, unless more is known by now.
func (c *Cache) learn(before *namespace, prefix string, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked.Before(c.last.learned) {
		return
	}
	next := c.last.follow(prefix)
	next.learned = asked
	c.last = next
	c.known.CompareAndSwap(before, &next) // unless it was distrusted meanwhile
}

// follow is the namespace after ns, when prefix is in use now.
func (ns namespace) follow(prefix string) namespace {
	now := time.Now()
	switch {
	case prefix == ns.prefix:
		return ns
	case now.Before(ns.readable.Add(-trustFor)): // nobody can have begun to read ns
		return namespace{prefix: prefix, old: ns.old, readable: now.Add(settleFor)}
	default:
		return namespace{prefix: prefix, old: ns.prefix, readable: now.Add(settleFor)}
	}
}

// prefix names the keys in use: the database, the epoch, and the Redis servers with their contents.
func (c *Cache) prefix(ctx context.Context) (string, error) {
	var place struct{ Database, Epoch int64 }
	if err := c.db.Spare().Get(ctx, &place, `
		SELECT epoch, (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database
		FROM cache.epoch`); err != nil {
		return "", fmt.Errorf("read the cache epoch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	contents, err := c.contents(ctx)
	if err != nil {
		return "", fmt.Errorf("read the replication id of Redis: %w", err)
	}
	return fmt.Sprintf("us:%d:%d:%s:", place.Database, place.Epoch, contents), nil
}

func (c *Cache) contents(ctx context.Context) (string, error) {
	cluster, ok := c.redis.(*redis.ClusterClient)
	if !ok {
		return replicationID(ctx, c.redis)
	}
	var mu sync.Mutex
	var ids []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		id, err := replicationID(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, id)
		return err
	})
	slices.Sort(ids)
	return strings.Join(ids, "-"), err
}

// replicationID changes when the server restarts, and, unlike its run id, when it becomes the master
// again after another one was: what it still holds under the keys of its first reign may be stale.
func replicationID(ctx context.Context, node redis.Cmdable) (string, error) {
	info, err := node.Info(ctx, "replication").Result()
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(info, "master_replid:")
	if !found || len(rest) < 12 {
		return "", fmt.Errorf("INFO replication names no master_replid")
	}
	return rest[:12], nil
}
