package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/logging"
	"user-service/platform/servertest"
)

// operate runs a part alone, and asks over the port of its operators.
func (s *stack) operate(t *testing.T, parts roles) *instance {
	t.Helper()
	a, err := newApp(t.Context(), s.config, testConnections, parts, logging.New(t.Output(), s.config.LogLevel, false))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return &instance{t: t, app: a, base: "http://127.0.0.1:" + strconv.Itoa(a.metrics.Addr().(*net.TCPAddr).Port)}
}

func (i *instance) ready() (status int, checks map[string]string) {
	i.t.Helper()
	// As a probe of a cluster asks: by the address of the pod.
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, i.base+"/health/ready/", nil)
	require.NoError(i.t, err)
	req.Host = "10.1.2.3:9090"
	r := i.do(req)
	require.NotEmpty(i.t, r.Header.Get("X-Correlation-ID"))
	var report struct{ Checks map[string]string }
	r.into(i.t, &report)
	return r.Status, report.Checks
}

func TestConsumerIsReadyWhileItConsumes(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"queue", "log"} { // of which the second has a queue of its own
		s := newStack(t)
		s.config.EmailTransport = transport
		proxy, through := servertest.NewProxy(t, s.config.RabbitMQURL)
		s.config.RabbitMQURL = through
		i := s.operate(t, roles{consumer: true})
		servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 200 }, "the consumer is ready")
		proxy.Cut()
		servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 503 }, "the consumer is not ready")
		_, checks := i.ready()
		require.Equal(t, map[string]string{"database": "up", "migrations": "up", "consumer": "down"}, checks)
		require.Equal(t, 200, i.call("GET", "/health/live/", "", nil).Status)
		require.Equal(t, 200, i.call("GET", "/health/", "", nil).Status, "degraded")
		proxy.Restore()
		servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 200 }, "the consumer is ready again")
	}
}

func TestAPIIsReadyWithoutTheBrokerAndNotWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string]roles{"api": {api: true}, "all": {true, true, true}, "relay": {relay: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			broker, throughBroker := servertest.NewProxy(t, s.config.RabbitMQURL)
			database, throughDatabase := servertest.NewProxy(t, s.config.DatabaseURL)
			s.config.RabbitMQURL, s.config.DatabaseURL = throughBroker, throughDatabase
			i := s.operate(t, parts)
			servertest.Eventually(t, func() bool { status, _ := i.health(); return status == "healthy" }, "all is well")
			broker.Cut()
			servertest.Eventually(t, func() bool { status, _ := i.health(); return status == "degraded" }, "the broker is missed")
			status, checks := i.ready()
			require.Equal(t, 200, status)
			require.Equal(t, map[string]string{"database": "up", "migrations": "up"}, checks)
			database.Cut()
			servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 503 }, "not ready")
			database.Restore()
			servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 200 }, "ready again")
		})
	}
}

func TestProcessIsNotReadyForAnOlderDatabase(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.operate(t, roles{api: true})
	status, _ := i.ready()
	require.Equal(t, 200, status)
	migrator, err := s.open(t).NewMigrator(migrations.Files)
	require.NoError(t, err)
	_, err = migrator.Down(t.Context())
	require.NoError(t, err)
	servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 503 }, "not ready")
	_, checks := i.ready()
	require.Equal(t, map[string]string{"database": "up", "migrations": "down"}, checks)
	_, err = migrator.Up(t.Context())
	require.NoError(t, err)
	servertest.Eventually(t, func() bool { status, _ := i.ready(); return status == 200 }, "ready again")
}
