package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// figures are what a scrape found: the value of each series, written `name{label="value",…}`.
type figures map[string]float64

func (i *instance) metricsURL(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", i.app.metrics.Addr().(*net.TCPAddr).Port, path)
}

// fetch asks the metrics port, and gives up on one that hangs.
func (i *instance) fetch(path string) (status int, body string) {
	i.t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(i.metricsURL(path))
	require.NoError(i.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(i.t, err)
	return resp.StatusCode, string(text)
}

func (i *instance) scrape() figures {
	i.t.Helper()
	status, body := i.fetch("/metrics")
	require.Equal(i.t, 200, status, body)
	found := figures{}
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[end+1:], 64)
		require.NoError(i.t, err, line)
		require.False(i.t, math.IsNaN(value), line)
		found[line[:end]] = value
	}
	return found
}

// sum adds up the series of a metric that have all of the labels; there is false when none has.
func (f figures) sum(name string, labels ...string) (sum float64, there bool) {
series:
	for series, value := range f {
		if named, _, _ := strings.Cut(series, "{"); named != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue series
			}
		}
		sum, there = sum+value, true
	}
	return sum, there
}

// names of the metrics, as expressions use them.
func (f figures) names() map[string]bool {
	names := map[string]bool{}
	for series := range f {
		name, _, _ := strings.Cut(series, "{")
		names[name] = true
	}
	return names
}

// reaches waits until a figure is at least least.
func (i *instance) reaches(least float64, name string, labels ...string) {
	i.t.Helper()
	servertest.Eventually(i.t, func() bool {
		sum, there := i.scrape().sum(name, labels...)
		return there && sum >= least
	}, "%s %v of at least %v", name, labels, least)
}

// guessWithoutEnd has somebody answered, and a password hashed, all the time.
func (i *instance) guessWithoutEnd() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var guessers sync.WaitGroup
	for range 4 {
		guessers.Go(func() {
			for ctx.Err() == nil {
				guess := strings.NewReader(`{"email": "nobody@example.com", "password": "a wrong password"}`)
				if resp, err := http.Post(i.base+"/api/v1/auth/login/", "application/json", guess); err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		guessers.Wait()
	})
	i.t.Cleanup(stop)
	return stop
}

func TestEveryMetricMovesAndThoseAreAllThatDashboardAndAlertsUse(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	proxy, through := servertest.NewProxy(t, s.config.RabbitMQURL)
	i := s.start(t, func(c *config) { c.RabbitMQURL = through })
	b := s.broker(t)
	quieten := i.guessWithoutEnd()
	i.reaches(1, "http_requests_in_flight")
	i.reaches(1, "password_hashes_running")
	quieten()
	i.reaches(0, "password_hashes_waiting")
	i.reaches(0, "password_hashes_refused_total")
	i.reaches(1, "http_request_duration_seconds_count", `route="/api/v1/auth/login/"`, `method="POST"`, `status="401"`)
	i.reaches(1, "go_sql_open_connections")

	k := i.register()
	require.Equal(t, 200, i.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status)
	i.reaches(1, "cache_reads_total")
	i.reaches(1, "outbox_relay_lag_seconds_count", `lane="events"`)
	i.reaches(1, "outbox_relay_lag_seconds_count", `lane="mails"`)

	var away atomic.Bool
	away.Store(true)
	s.provider.answers(func(map[string]any) (int, string) {
		if away.Load() {
			return http.StatusBadGateway, ""
		}
		return 200, "{}"
	})
	i.reaches(1, "push_breaker_state", `state="closed"`)
	id := uuid.NewString()
	message := pushBody(k.id(), id)
	message.Timestamp = time.Now().Add(-time.Minute)
	b.push(message)
	i.reaches(1, "push_provider_duration_seconds_count", `answer="away"`, `provider="webhook"`)
	i.reaches(1, "queue_retries_total", `queue="push.queue"`, `step="200ms"`)
	i.reaches(1, "push_breaker_state", `state="open"`)
	away.Store(false)
	i.reaches(1, "push_outcomes_total", `status="sent"`, `provider="webhook"`)
	i.reaches(60, "queue_message_age_seconds_sum", `queue="push.queue"`)
	b.push(message)
	i.reaches(1, "push_outcomes_total", `status="duplicate"`)
	b.push(pushBody(uuid.NewString(), uuid.NewString()))
	i.reaches(1, "push_outcomes_total", `status="failed"`, `reason="unknown_user"`)
	i.reaches(1, "queue_message_duration_seconds_count", `fate="failed"`)
	i.reaches(1, "queue_messages_ready", `queue="failed.queue"`)
	i.reaches(1, "queue_consumers", `queue="push.queue"`)

	i.exposesAllThatIsShown()

	proxy.Cut()
	require.Equal(t, 200, i.call("PATCH", "/api/v1/users/me/", k.AccessToken, map[string]any{"name": "During the outage"}).Status)
	i.reaches(1, "outbox_rows", `lane="events"`)
	i.reaches(0.001, "outbox_oldest_row_age_seconds", `lane="events"`)
	servertest.Eventually(t, func() bool {
		_, there := i.scrape().sum("queue_messages_ready")
		return !there
	}, "nothing is told of a broker that is away")
	proxy.Restore()
	servertest.Eventually(t, func() bool {
		rows, there := i.scrape().sum("outbox_rows")
		return there && rows == 0
	}, "an empty outbox")
}

func TestScrapeAnswersWhateverIsSilentAndTellsNothingOfIt(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	database, throughDatabase := servertest.NewProxy(t, s.config.DatabaseURL)
	redis, throughRedis := servertest.NewProxy(t, s.config.RedisURL)
	broker, throughBroker := servertest.NewProxy(t, s.config.RabbitMQURL)
	i := s.start(t, func(c *config) {
		c.DatabaseURL, c.RedisURL, c.RabbitMQURL = throughDatabase, throughRedis, throughBroker
	})
	i.reaches(0, "outbox_rows")
	i.reaches(0, "queue_messages_ready")
	for _, proxy := range []*servertest.Proxy{database, redis, broker} {
		proxy.Disturb(`{"name": "silent_down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
		proxy.Disturb(`{"name": "silent_up", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`)
	}
	servertest.Eventually(t, func() bool {
		found := i.scrape()
		_, rows := found.sum("outbox_rows")
		_, ready := found.sum("queue_messages_ready")
		return !rows && !ready
	}, "nothing is told of servers that do not answer")
	for _, proxy := range []*servertest.Proxy{database, redis, broker} {
		proxy.Calm()
	}
	i.reaches(0, "outbox_rows")
	i.reaches(0, "queue_messages_ready")
}

func TestLabelsStayFewWhateverStrangersSend(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	b := s.broker(t)
	k := i.register()
	const strangers = 40
	for n := range strangers {
		for _, path := range []string{"/" + uuid.NewString(), "/api/v1/users/" + uuid.NewString() + "/contact/?type=" + uuid.NewString()} {
			req, err := http.NewRequest(fmt.Sprintf("M%d", n), i.base+path, http.NoBody)
			require.NoError(t, err)
			i.do(req)
		}
		b.push(pushBody(k.id(), uuid.NewString(), func(body map[string]any) {
			body["template_code"], body["notification_type"] = uuid.NewString(), []string{"push", uuid.NewString()}[n%2]
		}))
	}
	i.reaches(strangers, "push_outcomes_total", `status="failed"`)
	i.reaches(2*strangers, "http_request_duration_seconds_count", `method="other"`, `route="none"`)
	counted := map[string]int{}
	for series := range i.scrape() {
		name, _, _ := strings.Cut(series, "{")
		counted[name]++
		require.NotRegexp(t, `M\d|[0-9a-f]{8}-[0-9a-f]{4}-`, series)
	}
	require.LessOrEqual(t, counted["http_request_duration_seconds_count"], 5)
	require.Equal(t, 2, counted["push_outcomes_total"], "unknown_template and wrong_channel")
	require.LessOrEqual(t, counted["queue_message_duration_seconds_count"], 2)
}

func TestProfilesAreServedOnTheMetricsPortWhenTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i, asked := s.start(t), s.start(t, func(c *config) { c.Pprof = true })
	status, _ := i.fetch("/debug/pprof/")
	require.Equal(t, 404, status)
	status, body := asked.fetch("/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, status)
	require.Contains(t, body, "goroutine profile")
	_, body = asked.fetch("/debug/pprof/mutex?debug=1")
	require.Contains(t, body, "sampling period=100", "who waits for locks is kept")
	require.Equal(t, 404, asked.call("GET", "/debug/pprof/", "", nil).Status, "never where clients are")
}

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	matchers   = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	groupings  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\([^)]*\)`)
	identifier = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*\b\s*\(?`)
)

// metricsOf are the names of metrics in an expression of PromQL.
func metricsOf(expression string) (names []string) {
	for _, noise := range []*regexp.Regexp{quoted, matchers, groupings} {
		expression = noise.ReplaceAllString(expression, "")
	}
	for _, word := range identifier.FindAllString(expression, -1) {
		word = strings.TrimSpace(word)
		if !strings.HasSuffix(word, "(") && word != "and" && word != "or" && word != "unless" {
			names = append(names, word)
		}
	}
	return names
}

func TestNamesOfMetricsAreFoundInExpressions(t *testing.T) {
	t.Parallel()
	for expression, names := range map[string][]string{
		`up{job="a_b"} == 0`: {"up"},
		`histogram_quantile(0.95, sum by (le, route) (rate(x_bucket[5m]))) > 1`:  {"x_bucket"},
		`sum(rate(a{c=~"5.."}[$__rate_interval])) / sum(b) > 0.05 and absent(d)`: {"a", "b", "d"},
	} {
		require.Equal(t, names, metricsOf(expression), expression)
	}
}
