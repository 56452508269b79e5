package cache

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis answers within a millisecond or is of no use as a cache: who comes while an exchange is stalled waits
// for that and for the own. A write is more patient: to tell the
// others by the epoch instead takes them longer to hear.
const (
	dialTimeout = 500 * time.Millisecond
	readTimeout = 250 * time.Millisecond
	callTimeout = time.Second
	maxRetries  = 1 // a pooled connection may have been closed by the other side

	plainProtocol = 2 // with 3 each call looks for notifications first, and we ask for none
)

// Dial makes a client for a redis:// or rediss:// URL, and does not connect yet. With master_name
// in its query the host is a sentinel; with addr, more hosts of a cluster
// (redis://a:6379?addr=b:6379). Replicas are never read: they may not have heard of an announcement.
func Dial(redisURL string) (redis.UniversalClient, error) {
	redis.SetLogger(silent{}) // what it would print is returned as an error too
	u, err := url.Parse(redisURL)
	if err != nil {
		return nil, fmt.Errorf("the Redis URL cannot be parsed")
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		options, err := redis.ParseFailoverURL(redisURL)
		if err != nil {
			return nil, err
		}
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, callTimeout, callTimeout
		options.MaxRetries, options.ContextTimeoutEnabled = maxRetries, true
		options.Protocol = plainProtocol
		options.ReplicaOnly, options.RouteByLatency, options.RouteRandomly = false, false, false
		return redis.NewFailoverClient(options), nil
	case query.Has("addr"):
		options, err := redis.ParseClusterURL(redisURL)
		if err != nil {
			return nil, err
		}
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, callTimeout, callTimeout
		options.ContextTimeoutEnabled = true
		options.Protocol = plainProtocol
		options.ReadOnly, options.RouteByLatency, options.RouteRandomly = false, false, false
		return redis.NewClusterClient(options), nil
	default:
		options, err := redis.ParseURL(redisURL)
		if err != nil {
			return nil, err
		}
		options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, callTimeout, callTimeout
		options.MaxRetries, options.ContextTimeoutEnabled = maxRetries, true
		options.Protocol = plainProtocol
		return redis.NewClient(options), nil
	}
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
