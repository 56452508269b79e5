package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/modules/auth"
	"user-service/modules/push"
	"user-service/platform/logging"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
	"user-service/platform/web"
)

// wholeRun stands in for a test where several share what they use; it ends after the last of them.
var wholeRun = new(testRun)

type testRun struct {
	testing.TB
	cleanups []func()
}

func (*testRun) Helper()                      {}
func (*testRun) Context() context.Context     { return context.Background() }
func (*testRun) Output() io.Writer            { return os.Stderr }
func (r *testRun) Cleanup(f func())           { r.cleanups = append(r.cleanups, f) }
func (*testRun) Errorf(text string, a ...any) { panic(fmt.Sprintf(text, a...)) }
func (*testRun) FailNow()                     {}

func (r *testRun) end() {
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
}

// stack is what one test has for itself: a database, a virtual host, and a fake device provider.
type stack struct {
	config   config
	provider *fakeProvider
	db       *postgres.DB // of the test itself, once it asked for it

	connections int // that each service may have to the database
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := &stack{provider: newFakeProvider(t), connections: testConnections}
	hosts, err := web.ParseHosts("localhost,127.0.0.1")
	require.NoError(t, err)
	s.config = config{
		AllowedHosts: hosts, AllowedOrigins: []string{"http://localhost:3000"},
		SecretKey: []byte("a secret key of the tests, long enough"), LogLevel: slog.LevelError,
		HashCost:    auth.Cost{Memory: 64, Passes: 1, Lanes: 1},
		DatabaseURL: servertest.Database(t, migrations.Files),
		RedisURL:    servertest.Env(t, "REDIS_URL"), CacheTTL: time.Hour, RabbitMQURL: servertest.VHost(t),
		Exchange: "notifications.direct", PushQueue: "push.queue", DLX: "notifications.dlx", FailedQueue: "failed.queue", Events: "user.events",
		AccessLifetime: time.Hour, RefreshLifetime: 24 * time.Hour,
		EmailTransport: "queue", PublicURL: "https://app.example.com",
		Templates: push.BuiltInTemplates(), Providers: pushProviders{Names: []string{"webhook"}, WebhookURL: s.provider.server.URL}, PushConcurrency: 8, PushPrefetch: 16,
		PushRetrySteps: []time.Duration{200 * time.Millisecond, 400 * time.Millisecond},
	}
	return s
}

func (s *stack) open(t testing.TB) *postgres.DB {
	t.Helper()
	if s.db == nil {
		db, err := postgres.Open(s.config.DatabaseURL, testConnections)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		s.db = db
	}
	return s.db
}

// shared are two services on one stack, for the tests that look at nothing but their own users: to
// start two of their own takes longer than most of these tests.
func shared(t testing.TB) (s *stack, a, b *instance) {
	t.Helper()
	s, services := sharedByTests()
	a, b = &services[0], &services[1]
	a.t, b.t = t, t
	return s, a, b
}

var sharedByTests = sync.OnceValues(func() (*stack, [2]instance) {
	s := newStack(wholeRun)
	s.connections = 2 * testConnections
	s.open(wholeRun)
	return s, [2]instance{*s.start(wholeRun), *s.start(wholeRun)}
})

// count runs a query that gives one number.
func count(t *testing.T, db *postgres.DB, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, db.Get(t.Context(), &n, query, args...))
	return n
}

// testConnections are few: to open one takes longer than what most tests do with it, and who needs
// two at a time gets stuck the sooner.
const testConnections = 4

// instance is one running service.
type instance struct {
	t    testing.TB
	base string
	app  *app // nil when it runs in another process
	stop func()
}

// start runs a service in this process, as main does, on ports of its own.
func (s *stack) start(t testing.TB, changes ...func(*config)) *instance {
	t.Helper()
	c := s.config
	for _, change := range changes {
		change(&c)
	}
	a, err := newApp(t.Context(), c, s.connections, roles{true, true, true}, logging.New(t.Output(), c.LogLevel, false))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	i := &instance{t: t, app: a, base: "http://127.0.0.1:" + strconv.Itoa(a.rest.Addr().(*net.TCPAddr).Port)}
	i.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(i.stop)
	return i
}

// reply is an answer of the API.
type reply struct {
	Status  int
	Header  http.Header
	Success bool                `json:"success"`
	Message string              `json:"message"`
	Error   string              `json:"error"`
	Errors  map[string][]string `json:"errors"`
	Data    json.RawMessage     `json:"data"`
	Meta    map[string]any      `json:"meta"`
}

func (r reply) into(t testing.TB, dest any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(r.Data, dest), "%s", r.Data)
}

// call sends body as JSON, nil for none; token "" for an anonymous request.
func (i *instance) call(method, path, token string, body any) reply {
	i.t.Helper()
	var content io.Reader = http.NoBody
	if body != nil {
		encoded, err := json.Marshal(body)
		require.NoError(i.t, err)
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, content)
	require.NoError(i.t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return i.do(req)
}

func (i *instance) do(req *http.Request) reply {
	i.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(i.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(i.t, err)
	described, err := described()
	require.NoError(i.t, err)
	described.judge(i.t, req, resp.StatusCode, resp.Header, text)
	r := reply{Status: resp.StatusCode, Header: resp.Header}
	require.NoError(i.t, json.Unmarshal(text, &r), "no envelope: %s", text)
	require.Equal(i.t, resp.StatusCode < 400, r.Success, "%s", text)
	require.NotEmpty(i.t, r.Message)
	return r
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// filled is a path with value for each thing in braces.
func filled(path, value string) string { return placeholder.ReplaceAllLiteralString(path, value) }

// tokens is what a client gets when it signs in.
type tokens struct {
	User         map[string]any `json:"user"`
	AccessToken  string         `json:"access_token"`
	RefreshToken string         `json:"refresh_token"`
	TokenType    string         `json:"token_type"`
	ExpiresIn    int            `json:"expires_in"`
}

func (k tokens) id() string { return k.User["id"].(string) }

const goodPassword = "correct horse battery"

// login signs a user in that register made, with the changes to the request.
func (i *instance) login(k tokens, changes ...func(*http.Request)) tokens {
	i.t.Helper()
	body := fmt.Sprintf(`{"email": %q, "password": %q}`, k.User["email"], goodPassword)
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.base+"/api/v1/auth/login/", strings.NewReader(body))
	require.NoError(i.t, err)
	req.Header.Set("Content-Type", "application/json")
	for _, change := range changes {
		change(req)
	}
	r := i.do(req)
	require.Equal(i.t, 200, r.Status, r.Error)
	var in tokens
	r.into(i.t, &in)
	return in
}

// staff makes a user of the staff.
func (s *stack) staff(i *instance) tokens {
	i.t.Helper()
	k := i.register()
	_, err := s.open(i.t).Exec(i.t.Context(), `UPDATE auth.accounts SET is_staff = true WHERE id = $1`, k.id())
	require.NoError(i.t, err)
	return k
}

// register makes a user with a device token.
func (i *instance) register(changes ...func(map[string]any)) tokens {
	i.t.Helper()
	body := map[string]any{
		"name": "Grace Hopper", "email": uuid.NewString() + "@example.com", "password": goodPassword, "push_token": "device-" + uuid.NewString(),
	}
	for _, change := range changes {
		change(body)
	}
	var r reply
	servertest.Eventually(i.t, func() bool { // as a client does; a busy machine hashes slowly
		r = i.call("POST", "/api/v1/users/", "", body)
		return r.Status != 503
	}, "registrations are served")
	require.Equal(i.t, 201, r.Status, "%s %v", r.Error, r.Errors)
	var k tokens
	r.into(i.t, &k)
	return k
}

// fakeProvider is the webhook's other end. It answers as the device token says.
type fakeProvider struct {
	server *httptest.Server
	mu     sync.Mutex
	got    []map[string]any
	answer func(n map[string]any) (status int, body string)
}

func newFakeProvider(t testing.TB) *fakeProvider {
	t.Helper()
	p := &fakeProvider{}
	p.start(t)
	return p
}

func (p *fakeProvider) start(t testing.TB) {
	t.Helper()
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n map[string]any
		if json.NewDecoder(r.Body).Decode(&n) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		p.got = append(p.got, n)
		answer := p.answer
		p.mu.Unlock()
		status, body := http.StatusOK, `{"id":"provider-1"}`
		if answer != nil {
			status, body = answer(n)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(p.server.Close)
}

func (p *fakeProvider) answers(fn func(n map[string]any) (int, string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = fn
}

// holds has every answer wait until release is closed; taken tells of each notification that waits.
func (p *fakeProvider) holds() (taken <-chan struct{}, release chan<- struct{}) {
	begun, until := make(chan struct{}, 100), make(chan struct{})
	p.answers(func(map[string]any) (int, string) {
		begun <- struct{}{}
		<-until
		return http.StatusOK, "{}"
	})
	return begun, until
}

// received are the notifications with this request_id.
func (p *fakeProvider) received(requestID string) []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []map[string]any
	for _, n := range p.got {
		if n["request_id"] == requestID {
			found = append(found, n)
		}
	}
	return found
}

// broker is a foreign client of RabbitMQ.
type broker struct {
	t    testing.TB
	conn *amqp.Connection
	ch   *amqp.Channel
}

// broker connects as soon as the service consumes push.queue.
func (s *stack) broker(t *testing.T) *broker {
	t.Helper()
	conn, err := amqp.Dial(s.config.RabbitMQURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	b := &broker{t: t, conn: conn}
	servertest.Eventually(t, func() bool {
		b.openChannel() // anew: asking for a queue that is not declared yet closes it
		queue, err := b.ch.QueueDeclarePassive("push.queue", true, false, false, false, nil)
		return err == nil && queue.Consumers > 0
	}, "a consumer of push.queue")
	return b
}

func (b *broker) openChannel() {
	b.t.Helper()
	var err error
	b.ch, err = b.conn.Channel()
	require.NoError(b.t, err)
	require.NoError(b.t, b.ch.Confirm(false))
}

// push publishes to push.queue as producers do, and waits for the confirm.
func (b *broker) push(p amqp.Publishing) {
	b.t.Helper()
	confirm, err := b.ch.PublishWithDeferredConfirm("notifications.direct", "push", true, false, p)
	require.NoError(b.t, err)
	require.True(b.t, confirm.Wait())
}

func pushBody(userID, requestID string, changes ...func(map[string]any)) amqp.Publishing {
	body := map[string]any{
		"notification_type": "push", "user_id": userID, "template_code": "welcome_notification",
		"variables": map[string]any{"name": "John", "link": "https://example.com"}, "request_id": requestID, "priority": 1, "metadata": map[string]any{},
	}
	for _, change := range changes {
		change(body)
	}
	encoded, _ := json.Marshal(body)
	return amqp.Publishing{Body: encoded}
}

// event is a domain event as another service receives it.
type event struct {
	ID, Source, Type, Subject, Sequence, CorrelationID string
	Data                                               map[string]any
}

// events gathers what user.events carries from now on.
type events struct {
	mu  sync.Mutex
	all []event
}

func (b *broker) listen() *events {
	b.t.Helper()
	queue, err := b.ch.QueueDeclare("", false, false, true, false, nil)
	require.NoError(b.t, err)
	require.NoError(b.t, b.ch.QueueBind(queue.Name, "#", "user.events", false, nil))
	deliveries, err := b.ch.Consume(queue.Name, "", true, true, false, false, nil)
	require.NoError(b.t, err)
	e := &events{}
	go func() {
		for d := range deliveries {
			var one event
			if json.Unmarshal(d.Body, &one) == nil {
				e.mu.Lock()
				e.all = append(e.all, one)
				e.mu.Unlock()
			}
		}
	}()
	return e
}

func (e *events) of(subject string, types ...string) []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []event
	for _, one := range e.all {
		for _, wanted := range types {
			if one.Subject == subject && one.Type == wanted {
				found = append(found, one)
			}
		}
	}
	return found
}

// distinct leaves out what came again, as every consumer must: a relay that does not hear of a confirm,
// or dies before its commit, publishes its batch a second time.
func distinct(all []event) []event {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(one event) bool {
		again := seen[one.ID]
		seen[one.ID] = true
		return again
	})
}

// dead takes the next message of failed.queue.
func (b *broker) dead() amqp.Delivery {
	b.t.Helper()
	var d amqp.Delivery
	servertest.Eventually(b.t, func() (ok bool) {
		var err error
		d, ok, err = b.ch.Get("failed.queue", true)
		require.NoError(b.t, err)
		return ok
	}, "a dead letter")
	return d
}

// deadOf takes messages of failed.queue until one has this reason.
func (b *broker) deadOf(reason string) amqp.Delivery {
	b.t.Helper()
	for {
		if d := b.dead(); d.Headers["x-failure-reason"] == reason {
			return d
		}
	}
}

// length is how many messages wait in a queue.
func (b *broker) length(queue string) int {
	b.t.Helper()
	q, err := b.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(b.t, err)
	return q.Messages
}

// waiting is how many messages wait for their next try.
func (s *stack) waiting(b *broker) (n int) {
	b.t.Helper()
	for _, queue := range s.config.topology().RetryQueues("push.queue") {
		n += b.length(queue)
	}
	return n
}

// letter is a command to the Email Service.
type letter struct {
	NotificationType string         `json:"notification_type"`
	UserID           string         `json:"user_id"`
	TemplateCode     string         `json:"template_code"`
	Variables        map[string]any `json:"variables"`
	RequestID        string         `json:"request_id"`
	Metadata         map[string]any `json:"metadata"`
}

func (l letter) token() string { return l.Variables["token"].(string) }

// mail takes messages of email.queue, as the Email Service does, until one is to this address.
func (b *broker) mail(email any, templateCode string) letter {
	b.t.Helper()
	var found letter
	servertest.Eventually(b.t, func() bool {
		d, ok, err := b.ch.Get("email.queue", true)
		require.NoError(b.t, err)
		if !ok {
			return false
		}
		var one letter
		require.NoError(b.t, json.Unmarshal(d.Body, &one), "%s", d.Body)
		found = one
		return one.Metadata["email"] == email && one.TemplateCode == templateCode
	}, "a mail %s to %v", templateCode, email)
	return found
}
