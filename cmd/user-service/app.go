package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/migrations"
	"user-service/modules/auth"
	"user-service/modules/preferences"
	"user-service/modules/profile"
	"user-service/modules/push"
	"user-service/platform/cache"
	"user-service/platform/fault"
	"user-service/platform/idempotency"
	"user-service/platform/mail"
	"user-service/platform/postgres"
	"user-service/platform/ratelimit"
	"user-service/platform/telemetry"
	"user-service/platform/web"
)

const (
	grace        = 15 * time.Second // for what is in flight at the end
	flushWithin  = 2 * time.Second  // for the last spans, after that
	databaseWait = 20 * time.Second // for a database that starts together with the service

	mailsAtOnce    = 8 // connections to the mail server: many servers take few from one client
	statusesAtOnce = 8
)

// app is the whole service on one page: every part, and who gets which.
type app struct {
	*core
	roles    roles
	root     *slog.Logger // for the parts, which add their names
	log      *slog.Logger
	consume  *messaging.Connection
	relayDB  *postgres.DB
	replies  *idempotency.Store
	router   *web.Router
	registry *prometheus.Registry
	tracer   *telemetry.Tracer // nil: nobody asked for traces
	migrator *postgres.Migrator

	consuming     atomic.Int32 // consumers that the broker delivers to
	rest, metrics net.Listener // listening since newApp, so that a taken port is told at once
}

// core is what the service and the commands of operators have in common: the modules on the bus.
type core struct {
	config      config
	db          *postgres.DB
	cache       *cache.Cache
	topology    messaging.Topology
	publish     *messaging.Connection // connected by run
	outbox      *messaging.Outbox
	bus         *messaging.Bus
	limiter     *ratelimit.Limiter // nil: everybody may ask as often as they like
	auth        *auth.Module
	profile     *profile.Module
	preferences *preferences.Module
	push        *push.Module
}

// newCore wires the modules. It connects to no server.
func newCore(c config, connections int, log *slog.Logger) (_ *core, err error) {
	k := &core{config: c}
	if k.db, err = postgres.Open(c.DatabaseURL, connections); err != nil {
		return nil, err
	}
	redis, err := cache.Dial(c.RedisURL)
	if err != nil {
		return nil, fmt.Errorf("settings of Redis: %w", err)
	}
	k.cache = cache.New(redis, k.db, c.CacheTTL, log)
	if c.RateLimit {
		k.limiter = ratelimit.New(redis, c.SecretKey, c.databaseName(), log)
	}
	k.outbox = messaging.NewOutbox(k.db)
	if k.bus, err = messaging.NewBus(k.outbox); err != nil {
		return nil, err
	}

	k.auth = auth.New(k.db, k.bus, k.limiter, auth.Settings{
		SecretKey: c.SecretKey, SigningKeys: c.SigningKeys, HashCost: c.HashCost, HashCommand: c.HashCommand,
		AccessLifetime: c.AccessLifetime, RefreshLifetime: c.RefreshLifetime, PublicURL: c.PublicURL,
	}, log)
	k.profile = profile.New(k.db, k.bus, k.cache)
	k.preferences = preferences.New(k.db, k.bus, k.cache)
	k.topology = c.topology()
	k.publish = messaging.NewConnection(c.RabbitMQURL, "user-service publish", k.topology, log)
	deliveries := c.deliveries(log)
	deliveries.Failed = messaging.FailedQueue{Connection: k.publish, Publisher: messaging.NewPublisher(k.publish), Topology: k.topology}
	k.push = push.New(k.db, k.bus, deliveries, log)
	// In this order followers run, and lock their rows: what begins in one module goes on in later ones.
	for _, module := range []interface{ Subscribe() }{k.auth, k.preferences, k.profile, k.push} {
		module.Subscribe()
	}
	return k, nil
}

func (c config) topology() messaging.Topology {
	return messaging.Topology{
		Exchange: c.Exchange, DLX: c.DLX, Events: c.Events, PushQueue: c.PushQueue, FailedQueue: c.FailedQueue,
		RetrySteps: c.PushRetrySteps, OwnMail: c.EmailTransport != "queue", TellsStatus: c.StatusWebhookURL != "", Logged: new(sync.Map),
	}
}

func (c config) deliveries(log *slog.Logger) push.Settings {
	s := push.Settings{
		Providers: c.Providers.open(c.PushConcurrency, log), Templates: c.Templates,
		Attempts: len(c.PushRetrySteps) + 1, Concurrency: c.PushConcurrency,
	}
	if c.TemplateServiceURL != "" {
		s.Service = push.NewTemplateService(c.TemplateServiceURL, c.PushConcurrency)
	}
	return s
}

func (c config) mailSender(log *slog.Logger) mail.Sender {
	if c.EmailTransport == "smtp" {
		return mail.NewSMTP(c.MailServer, c.EmailFrom)
	}
	return mail.Log{Log: log.With("logger", "mail.log")}
}

// newApp wires the service, with so many connections to the database at the most. Of the servers it
// needs only the database must answer.
func newApp(ctx context.Context, c config, connections int, parts roles, log *slog.Logger) (_ *app, err error) {
	a := &app{roles: parts, root: log, log: log.With("logger", "app"), registry: prometheus.NewRegistry()}
	if a.core, err = newCore(c, connections, log); err != nil {
		return nil, err
	}
	if a.relayDB, err = postgres.Open(c.DatabaseURL, messaging.RelayConnections, postgres.ByIndex); err != nil {
		return nil, err
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.registry.MustRegister(collectors.NewDBStatsCollector(a.db.Pool(), "user_service"), a.cache.Collector())
	a.registry.MustRegister(collectors.NewDBStatsCollector(a.db.Spare().Pool(), "user_service_spare"))
	a.registry.MustRegister(collectors.NewDBStatsCollector(a.relayDB.Pool(), "user_service_relay"))
	a.registry.MustRegister(slices.Concat(a.auth.Collectors(), a.push.Collectors(), a.outbox.Collectors())...)
	if c.Tracing {
		if a.tracer, err = telemetry.New(ctx, version, log); err != nil {
			return nil, fmt.Errorf("OTEL_…: %w", err)
		}
	}
	if err := a.prepareDatabase(ctx); err != nil {
		return nil, err
	}

	a.consume = messaging.NewConnection(c.RabbitMQURL, "user-service consume", a.topology, log)
	a.registry.MustRegister(messaging.QueueDepths(a.publish, a.topology))

	if a.replies, err = idempotency.New(a.db, c.SecretKey); err != nil {
		return nil, err
	}
	if a.router, err = a.newRouter(web.Settings{
		Authority: a.auth.Authority(), Limiter: a.limiter, Replies: a.replies, TrustedProxies: c.TrustedProxies, Log: log,
	}, a.overall(), a.ready()); err != nil {
		return nil, err
	}
	return a, a.listen(ctx)
}

// prepareDatabase waits for the database and brings it up to date, or says that it is not.
func (a *app) prepareDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, databaseWait)
	defer cancel()
	for err := a.db.Ping(ctx); err != nil; err = a.db.Ping(ctx) {
		if fault.From(err).Kind != fault.Unavailable { // waiting would not mend it
			return fmt.Errorf("DATABASE_URL (or DB_USER, DB_PASSWORD, DB_NAME) is refused by the server: %w", err)
		}
		a.log.Warn("database out of reach, trying again", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("DATABASE_URL (or DB_HOST …): the database cannot be reached: %w", err)
		case <-time.After(time.Second):
		}
	}
	var err error
	if a.migrator, err = a.db.Spare().NewMigrator(migrations.Files); err != nil { // which readiness asks
		return err
	}
	if a.config.MigrateOnStart {
		steps, err := a.migrator.Up(context.WithoutCancel(ctx))
		for _, step := range steps {
			a.log.Info("migrated", "step", step.File)
		}
		return err
	}
	return upToDate(ctx, a.migrator)
}

func upToDate(ctx context.Context, migrator *postgres.Migrator) error {
	if pending, err := migrator.Pending(ctx); err != nil || !pending {
		return err
	}
	return errors.New("the database is not up to date: run `user-service migrate up`, or set MIGRATE_ON_START=true")
}

func (a *app) listen(ctx context.Context) (err error) {
	var network net.ListenConfig
	if a.roles.api {
		if a.rest, err = network.Listen(ctx, "tcp", ":"+strconv.Itoa(a.config.Port)); err != nil {
			return fmt.Errorf("PORT: %w; accepted: a free port", err)
		}
	}
	if a.metrics, err = network.Listen(ctx, "tcp", ":"+strconv.Itoa(a.config.MetricsPort)); err != nil {
		return fmt.Errorf("METRICS_PORT: %w; accepted: a free port", err)
	}
	return nil
}

// roles are the parts that can run alone.
type roles struct{ api, consumer, relay bool }

// run serves until ctx ends or a part fails. The parts that do the work end first, and what they
// stand on after them, so that what is in flight can be finished.
func (a *app) run(ctx context.Context) error {
	baseCtx, stopBase := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBase()
	base, baseCtx := errgroup.WithContext(baseCtx)
	for _, part := range []func(context.Context) error{a.publish.Run, a.consume.Run, a.cache.Run, a.auth.Run, a.push.Run, a.sweep} {
		base.Go(func() error { return part(baseCtx) })
	}

	a.cache.Learn(ctx)
	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return web.Serve(frontCtx, a.metrics, a.metricsHandler(), grace) })
	if a.roles.api {
		front.Go(func() error {
			return web.Serve(frontCtx, a.rest, web.Observe(web.Trace(a.guarded(), a.tracer), a.root, a.registry), grace)
		})
	}
	publisher := messaging.NewPublisher(a.publish)
	if a.roles.relay {
		relay := messaging.Relay{DB: a.relayDB, Outbox: a.outbox, Publisher: publisher, Topology: a.topology, Tracer: a.tracer, Log: a.root}
		front.Go(func() error { return relay.Run(frontCtx, grace) })
	}
	if a.roles.consumer {
		for _, consumer := range a.consumers(publisher) {
			front.Go(func() error { return consumer.Run(frontCtx, grace) })
		}
	}
	err := front.Wait()
	stopBase()
	err = errors.Join(err, base.Wait(), a.relayDB.Close(), a.db.Close())
	a.flush(ctx)
	return err
}

// flush sends the last spans. A collector that is away is no reason to fail.
func (a *app) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	if err := a.tracer.Stop(ctx); err != nil {
		a.log.Warn("the last traces were not sent", "error", err)
	}
}

// sweep removes replies to requests that may not be repeated any more.
func (a *app) sweep(ctx context.Context) error { return a.replies.Run(ctx, a.log) }

// consumers are of push.queue, where no Email Service sends the mails of the service's own, and where a
// gateway wants to know of what became of push messages.
func (a *app) consumers(publisher *messaging.Publisher) []messaging.Consumer {
	all := []messaging.Consumer{{
		Queue: a.topology.PushQueue, Connection: a.consume, Publisher: publisher, Topology: a.topology,
		Prefetch: a.config.PushPrefetch, Concurrency: 2 * a.config.PushConcurrency, // while some are sent, others are reserved or recorded
		Handle: a.push.Handle, Failed: a.push.Failed, Breaker: a.push.Breaker(),
		Tracer: a.tracer, Active: &a.consuming, Log: a.root, Registry: a.registry,
	}}
	if a.topology.OwnMail {
		all = append(all, messaging.Consumer{
			Queue: messaging.MailQueue, Connection: a.consume, Publisher: publisher, Topology: a.topology,
			Prefetch: 2 * mailsAtOnce, Concurrency: mailsAtOnce,
			Handle: auth.Mailer{Sender: a.config.mailSender(a.root), Log: a.root}.Handle,
			Tracer: a.tracer, Active: &a.consuming, Log: a.root, Registry: a.registry,
		})
	}
	if a.topology.TellsStatus {
		gateway := push.NewGateway(a.config.StatusWebhookURL, statusesAtOnce, len(a.config.PushRetrySteps)+1, a.root)
		a.registry.MustRegister(gateway.Collectors()...)
		all = append(all, messaging.Consumer{
			Queue: messaging.StatusQueue, Connection: a.consume, Publisher: publisher, Topology: a.topology,
			Prefetch: 2 * statusesAtOnce, Concurrency: statusesAtOnce,
			Handle: gateway.Handle, Breaker: gateway.Breaker(),
			Tracer: a.tracer, Active: &a.consuming, Log: a.root, Registry: a.registry,
		})
	}
	return all
}

// metricsHandler is for operators: figures, and the health of any role.
func (a *app) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	health := web.Correlate(a.router)
	mux.Handle("/health", health)
	mux.Handle("/health/", health)
	if a.config.Pprof {
		runtime.SetMutexProfileFraction(100) // of so many waits for a lock one is kept
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}
