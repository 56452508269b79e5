package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
)

// The service's defaults, so that the size of a pool gives neither side an advantage.
const (
	floorConnections = 20  // of its pool
	floorPrefetch    = 64  // PUSH_PREFETCH
	floorConcurrency = 100 // workers: the prefetch alone bounds them
	floorBatch       = 500
)

// floorSchema is what the floors write to, in the form of the service's own tables.
const floorSchema = `
	CREATE SCHEMA floor;
	CREATE TABLE floor.preferences (LIKE preferences.preferences INCLUDING ALL) WITH (fillfactor = 80);
	INSERT INTO floor.preferences SELECT * FROM preferences.preferences;
	CREATE TABLE floor.outbox (LIKE messaging.outbox INCLUDING ALL);
	CREATE TABLE floor.deliveries (request_id text PRIMARY KEY, user_id uuid NOT NULL, status text NOT NULL,
		created_at timestamptz NOT NULL DEFAULT now())`

func floorKey(userID string) string { return "bench:floor:" + userID }

func floorPreferencesKey(userID string) string { return "bench:floor:preferences:" + userID }

// floorCommand is the process of the floors: each does its job and keeps no other promise.
type floorCommand struct {
	Port string `arg:""`
}

type floor struct {
	db    *sql.DB
	redis *redis.Client
	amqp  *amqp.Connection
	wake  chan struct{} // there is an event to carry

	update, insert, take, deliver *sql.Stmt
}

// Run serves until its parent closes standard input, as the death of the parent would.
func (c floorCommand) Run(ctx context.Context) error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	f := &floor{
		db:    must(sql.Open("postgres", os.Getenv("DATABASE_URL"))),
		redis: redis.NewClient(must(redis.ParseURL(os.Getenv("REDIS_URL")))),
		amqp:  must(amqp.Dial(os.Getenv("RABBITMQ_URL"))),
		wake:  make(chan struct{}, 1),
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = floorConcurrency //nolint:errcheck,forcetypeassert // it is one; for the provider
	f.db.SetMaxOpenConns(floorConnections)
	f.db.SetMaxIdleConns(floorConnections)
	f.update = must(f.db.PrepareContext(ctx, `
		UPDATE floor.preferences SET email = COALESCE($2, email), push = COALESCE($3, push), version = version + 1, updated_at = now()
		WHERE user_id = $1 RETURNING version, json_build_object('email', email, 'push', push)`))
	f.insert = must(f.db.PrepareContext(ctx, `
		INSERT INTO floor.outbox (id, topic, source, subject, sequence, correlation_id, traceparent, data)
		VALUES ($1, 'user.preferences_changed', 'preferences', $2, $3, $4, '', $5)`))
	f.take = must(f.db.PrepareContext(ctx, `
		DELETE FROM floor.outbox WHERE position IN (
			SELECT position FROM floor.outbox ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id, topic, source, subject, sequence, correlation_id, data, created_at`))
	f.deliver = must(f.db.PrepareContext(ctx, `INSERT INTO floor.deliveries (request_id, user_id, status) VALUES ($1, $2, 'sent')`))
	f.consume(ctx, floorQueue)
	f.consume(ctx, floorSlowQueue)
	check(must(f.amqp.Channel()).ExchangeDeclare(floorEvents, amqp.ExchangeTopic, true, false, false, false, nil))
	go f.carry(ctx)

	// A handler that throws ends its connection, and with it the round.
	routes := mux.NewRouter()
	routes.HandleFunc(profilePath, f.cached(floorKey)).Methods("GET")
	routes.HandleFunc(preferencesPath, f.cached(floorPreferencesKey)).Methods("GET")
	routes.HandleFunc(preferencesPath, f.change).Methods("PATCH")
	routes.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {}).Methods("GET")
	routes.HandleFunc("/relay", f.relay).Methods("POST")
	routes.HandleFunc("/hash", f.hash).Methods("POST")
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(must(new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+c.Port)))
}

var secretKey = sync.OnceValue(func() []byte { return []byte(os.Getenv("SECRET_KEY")) })

// userOf is whom the request's token is for.
func userOf(req *http.Request) string {
	token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	var claims struct {
		jwt.RegisteredClaims
		UserID string `json:"user_id"`
	}
	must(jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return secretKey(), nil }, jwt.WithValidMethods([]string{"HS256"})))
	return claims.UserID
}

// cached answers with what Redis has for the user.
func (f *floor) cached(key func(userID string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		found := must(f.redis.Get(req.Context(), key(userOf(req))).Bytes())
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(found)
	}
}

// change changes preferences, and leaves the event in the outbox.
func (f *floor) change(w http.ResponseWriter, req *http.Request) {
	ctx, user := req.Context(), userOf(req)
	var in struct{ Email, Push *bool }
	check(json.NewDecoder(req.Body).Decode(&in))
	tx := must(f.db.BeginTx(ctx, nil))
	defer func() { _ = tx.Rollback() }()
	var version int64
	var now []byte
	check(tx.StmtContext(ctx, f.update).QueryRowContext(ctx, user, in.Email, in.Push).Scan(&version, &now))      //nolint:sqlclosecheck // the transaction closes it
	must(tx.StmtContext(ctx, f.insert).ExecContext(ctx, uuid.NewString(), user, version, uuid.NewString(), now)) //nolint:sqlclosecheck // likewise
	check(tx.Commit())
	select {
	case f.wake <- struct{}{}:
	default: // the relay has not looked since it was woken last
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(now)
}

// carry publishes what is in the outbox whenever it is woken.
func (f *floor) carry(ctx context.Context) {
	ch := must(f.amqp.Channel())
	check(ch.Confirm(false))
	for range f.wake {
		f.publish(ctx, ch)
	}
}

// relay publishes all that is in the outbox.
func (f *floor) relay(_ http.ResponseWriter, req *http.Request) {
	ch := must(f.amqp.Channel())
	defer func() { _ = ch.Close() }()
	check(ch.Confirm(false))
	f.publish(req.Context(), ch)
}

func (f *floor) publish(ctx context.Context, ch *amqp.Channel) {
	for f.batch(ctx, ch) == floorBatch {
	}
}

func (f *floor) batch(ctx context.Context, ch *amqp.Channel) int {
	tx := must(f.db.BeginTx(ctx, nil))
	defer func() { _ = tx.Rollback() }()
	rows := must(tx.StmtContext(ctx, f.take).QueryContext(ctx, floorBatch)) //nolint:sqlclosecheck,rowserrcheck // the transaction, and check, below
	defer func() { _ = rows.Close() }()
	var confirms []*amqp.DeferredConfirmation
	for rows.Next() {
		var id, topic, source, subject, correlation string
		var sequence int64
		var data []byte
		var created time.Time
		check(rows.Scan(&id, &topic, &source, &subject, &sequence, &correlation, &data, &created))
		// The same event as the service's, or the broker would have less to do.
		event := fmt.Appendf(nil, `{"specversion":"1.0","id":"%s","source":"/user-service/%s","type":"%s","subject":"%s","time":"%s",`+
			`"datacontenttype":"application/json","correlationid":"%s","sequence":"%010d","data":%s}`,
			id, source, topic, subject, created.UTC().Format(time.RFC3339Nano), correlation, sequence, data)
		confirms = append(confirms, must(ch.PublishWithDeferredConfirmWithContext(ctx, floorEvents, topic, false, false, amqp.Publishing{
			ContentType: "application/cloudevents+json", MessageId: id, Type: topic, CorrelationId: correlation,
			Timestamp: created, DeliveryMode: amqp.Persistent, Body: event,
		})))
	}
	check(rows.Err())
	for _, confirm := range confirms {
		if !must(confirm.WaitContext(ctx)) {
			check(fmt.Errorf("not confirmed"))
		}
	}
	check(tx.Commit())
	return len(confirms)
}

// consume handles the messages of a queue from now on. The queue is declared as push.queue is: what the broker
// has to do for each message depends on it.
func (f *floor) consume(ctx context.Context, queue string) {
	ch := must(f.amqp.Channel())
	must(ch.QueueDeclare(queue, true, false, false, false, amqp.Table{
		"x-max-priority": 10, "x-dead-letter-exchange": "notifications.dlx", "x-dead-letter-routing-key": "failed",
	}))
	check(ch.Qos(floorPrefetch, 0, false))
	deliveries := must(ch.Consume(queue, "", false, false, false, false, nil))
	for range floorConcurrency {
		go func() {
			for d := range deliveries {
				var m struct {
					RequestID string `json:"request_id"`
					UserID    string `json:"user_id"`
				}
				check(json.Unmarshal(d.Body, &m))
				must(f.redis.Get(ctx, floorKey(m.UserID)).Bytes())
				if d.ReplyTo != "" { // a provider, where it is asked when the message got there
					must(call(ctx, http.MethodPost, d.ReplyTo, string(d.Body)))
				}
				must(f.deliver.ExecContext(ctx, m.RequestID, m.UserID))
				check(d.Ack(false))
			}
		}()
	}
}

// hash compares a password on every core, again and again, by the library that most would take. The service's own
// Argon2id is faster where the processor has AVX-512: there, a login can be above this floor.
func (f *floor) hash(w http.ResponseWriter, req *http.Request) {
	during := must(time.ParseDuration(req.FormValue("during")))
	hash := must(argon2id.CreateHash(password, &argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}))
	begin := time.Now()
	var done atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Since(begin) < during {
				must(argon2id.ComparePasswordAndHash(password, hash))
				done.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Fprintf(w, `{"done":%d,"took":%d}`, done.Load(), time.Since(begin))
}
