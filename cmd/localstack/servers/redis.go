package servers

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Redis is Redis, or Valkey where that is installed instead.
var Redis = &Kind{
	Name:     "redis",
	Variable: "REDIS_URL",
	Package:  "redis-server",
	Minimum:  "7.0",

	candidates: redisCandidates,
	series:     func(string) string { return "" }, // keeps no data
	ports:      []string{"server"},
	stopSignal: syscall.SIGTERM,
	prepare:    prepareRedis,
	commands: func(i *Instance) []command {
		return []command{{path: i.binary.Path, args: []string{"redis.conf"}}}
	},
	url:   func(i *Instance) string { return fmt.Sprintf("redis://:%s@%s/0", i.rec.Secret, i.Addr) },
	login: loginRedis,
	check: checkRedis,
}

func redisCandidates() []Binary {
	for _, program := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(program); err == nil {
			return []Binary{{Path: path, Version: askVersion(path)}}
		}
	}
	return nil
}

// prepareRedis keeps the password in a file: everyone could read it among the arguments.
func prepareRedis(_ context.Context, i *Instance) error {
	_, err := i.writeOwned("redis.conf", fmt.Sprintf(`bind 127.0.0.1
port %d
requirepass %s
save ""
appendonly no
daemonize no
`, i.port("server"), i.rec.Secret))
	return err
}

// loginRedis dials first, because the client logs each failure to dial.
func loginRedis(ctx context.Context, i *Instance) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", i.Addr)
	if err != nil {
		return err
	}
	conn.Close()
	return checkRedis(ctx, i.URL)
}

// checkRedis accepts the URLs of go-redis for a single server, a cluster (addr=) and sentinels (master_name=).
func checkRedis(ctx context.Context, address string) error {
	client, err := redisClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx).Err()
}

func redisClient(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, err
		}
		o.MaintNotificationsConfig = quiet
		return redis.NewClusterClient(o), nil
	default:
		o, err := redis.ParseURL(address)
		if err != nil {
			return nil, err
		}
		o.MaintNotificationsConfig, o.MaxRetries, o.DialerRetries = quiet, -1, 1
		return redis.NewClient(o), nil
	}
}
