package cache

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// What is asked of Redis at the same time goes there in one exchange: in one each, most of the work of
// both sides would be to write and read small packets. go-redis can do so too (AutoPipeline), as an
// experiment that heeds no deadline.

// get is a key that is read, and what Redis has for it.
type get struct {
	key  string
	held []byte // nil when nothing is there
	err  error
}

func (c *Cache) getAll(asked []*get) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	pipe := c.redis.Pipeline()
	answers := make([]*redis.StringCmd, len(asked))
	for i, g := range asked {
		answers[i] = pipe.Get(ctx, g.key)
	}
	cmds, err := pipe.Exec(ctx)
	failed := unanswered(cmds, err)
	for i, g := range asked {
		g.held, g.err = answers[i].Bytes()
		if errors.Is(g.err, redis.Nil) {
			g.err = nil
		}
		g.err = cmp.Or(g.err, failed)
	}
}

// unanswered is the fault of an exchange that did not take place, which go-redis tells by itself alone where
// the server refused the connection: because of the password, say, or while it loads its data.
func unanswered(cmds []redis.Cmder, err error) error {
	if slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil }) {
		return nil // err is one of theirs
	}
	return err
}

// of is the JSON that is held, when it is of this type.
func (g *get) of(of reflect.Type) (value []byte, found bool) {
	_, rest, _ := bytes.Cut(g.held, colon)
	form, value, _ := bytes.Cut(rest, colon) // none when nothing is there, or an announcement
	return value, string(form) == shape(of)
}

var colon = []byte(":")

// entry is a version of a row, and its value unless it is an announcement.
type entry struct {
	key     string
	version int64
	value   any // nil: announced only
}

// encode is empty for an announcement.
func (e entry) encode() (string, error) {
	if e.value == nil {
		return "", nil
	}
	value, err := encodeJSON(e.value)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", e.key, err)
	}
	return shape(reflect.TypeOf(e.value)) + ":" + string(value), nil
}

// store puts KEYS[1] = "version:shape:value", or an announcement ("version:"), unless something newer
// stands there. Two values of one version are equal; an announcement of the version that stands there
// was preceded by one that was rolled back, and lives anew.
// ARGV: version, value, milliseconds to live.
var store = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
`)

// put is a key that is stored, unless something newer stands there.
type put struct {
	key  string
	args []any // of store
	err  error
}

// put returns when the entries are stored, or limit has passed; and then they may be stored later.
func (c *Cache) put(ctx context.Context, entries []entry, ttl, limit time.Duration) error {
	asked := make([]put, len(entries))
	for i, e := range entries {
		value, err := e.encode()
		if err != nil {
			return err
		}
		asked[i] = put{key: e.key, args: []any{strconv.FormatInt(e.version, 10), value, ttl.Milliseconds()}}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.puts.Do(ctx, asked); err != nil {
		return err
	}
	for _, p := range asked {
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

func (c *Cache) putAll(asked [][]put) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if c.putAllBy(ctx, store.EvalSha, asked) {
		// The server restarted or dropped its script, and may do so again: this time the text goes along.
		c.putAllBy(ctx, store.Eval, asked)
	}
}

// evaluate is one of the ways to have Redis run a script.
type evaluate func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// putAllBy says whether a server lacked the script.
func (c *Cache) putAllBy(ctx context.Context, eval evaluate, asked [][]put) (lacked bool) {
	pipe := c.redis.Pipeline()
	var answers []*redis.Cmd
	for _, puts := range asked {
		for _, p := range puts {
			answers = append(answers, eval(ctx, pipe, []string{p.key}, p.args...))
		}
	}
	cmds, err := pipe.Exec(ctx)
	failed := unanswered(cmds, err)
	for _, puts := range asked {
		for i := range puts {
			puts[i].err = cmp.Or(answers[0].Err(), failed)
			lacked = lacked || redis.HasErrorPrefix(puts[i].err, "NOSCRIPT")
			answers = answers[1:]
		}
	}
	return lacked
}
