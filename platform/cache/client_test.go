package cache

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestURLSaysWhetherRedisIsOneServerAClusterOrBehindASentinel(t *testing.T) {
	t.Parallel()
	single := dial(t, "rediss://user:secret@example.com:6380/3")
	options := single.(*redis.Client).Options()
	require.Equal(t, "example.com:6380", options.Addr)
	require.Equal(t, 3, options.DB)
	require.NotNil(t, options.TLSConfig)
	require.Equal(t, callTimeout, options.ReadTimeout)

	sentinel := dial(t, "redis://example.com:26379?master_name=mymaster")
	require.Equal(t, "FailoverClient", sentinel.(*redis.Client).Options().Addr)

	cluster := dial(t, "redis://a.example.com:6379?addr=b.example.com:6379")
	require.Equal(t, []string{"a.example.com:6379", "b.example.com:6379"}, cluster.(*redis.ClusterClient).Options().Addrs)
}

func TestReplicasAreNeverRead(t *testing.T) {
	t.Parallel()
	cluster := dial(t, "redis://a.example.com:6379?addr=b.example.com:6379&read_only=true&route_by_latency=true&route_randomly=true")
	options := cluster.(*redis.ClusterClient).Options()
	require.False(t, options.ReadOnly)
	require.False(t, options.RouteByLatency)
	require.False(t, options.RouteRandomly)
}

func TestFaultOfARedisURLDoesNotShowItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://user:hush@host:port", "http://user:hush@host", "redis://user:hush@host/x", "redis://us er:hush@ho st",
		"redis://user:hush@host?nonsense=1", "redis://user:hush@host/x?master_name=m", "redis://user:hush@host/x?addr=b",
		"user:hush@host:6379", "redis://user:hush@host:6379/0?db=x", "redis://:hush%zz@host",
	} {
		_, err := Dial(url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hush")
	}
}
