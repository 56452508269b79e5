package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"user-service/modules/auth"
	"user-service/modules/push"
	"user-service/platform/mail"
	"user-service/platform/web"
)

// config is what an operator decides, CONTRACT "Configuration". Only this file and environment.go
// read the environment.
type config struct {
	SecretKey   []byte
	Debug       bool
	LogLevel    slog.Level
	Port        int
	MetricsPort int
	Pprof       bool
	Tracing     bool

	DatabaseURL string
	RedisURL    string
	CacheTTL    time.Duration

	RabbitMQURL string
	Exchange    string
	PushQueue   string
	DLX         string
	FailedQueue string
	Events      string

	HashCost        auth.Cost // not a setting: what auth takes for enough
	HashCommand     []string  // likewise: the program itself
	SigningKeys     []auth.SigningKey
	AccessLifetime  time.Duration
	RefreshLifetime time.Duration

	EmailTransport string // queue, smtp or log
	EmailFrom      *netmail.Address
	MailServer     mail.Server
	PublicURL      string
	AllowedHosts   web.Hosts
	AllowedOrigins []string
	TrustedProxies []netip.Prefix
	RateLimit      bool

	TestNotifications bool

	Templates          push.Templates
	TemplateServiceURL string // none: this service's own templates
	Providers          pushProviders
	StatusWebhookURL   string // none: nobody wants to be told
	PushConcurrency    int
	PushPrefetch       int
	PushRetrySteps     []time.Duration

	MigrateOnStart bool
}

// minSecret is the least length of SECRET_KEY, in bytes: the output of HS256's hash, as RFC 7518
// section 3.2 demands.
const minSecret = 32

// loadConfig reads the environment, and gives every fault at once, one line each.
func loadConfig() (config, []string) {
	e := environment{}
	c := config{
		Debug:       e.flag("DEBUG", false),
		LogLevel:    e.logLevel("LOG_LEVEL", "INFO"),
		Port:        e.number("PORT", 8000, 0, 65535),
		MetricsPort: e.number("METRICS_PORT", 9090, 0, 65535),
		Pprof:       e.flag("PPROF", false),
		Tracing:     tracing(&e),

		DatabaseURL: databaseURL(&e),
		RedisURL:    redisURL(&e),
		CacheTTL:    e.seconds("REDIS_CACHE_TTL", 3600),

		SigningKeys:     signingKeys(&e),
		AccessLifetime:  e.minutes("JWT_ACCESS_TOKEN_LIFETIME", 60),
		RefreshLifetime: e.minutes("JWT_REFRESH_TOKEN_LIFETIME", 1440),

		PublicURL:      publicURL(&e),
		AllowedHosts:   allowedHosts(&e),
		AllowedOrigins: e.origins("CORS_ALLOWED_ORIGINS", "http://localhost:3000"),
		TrustedProxies: e.networks("TRUSTED_PROXIES"),
		RateLimit:      e.oneOf("RATE_LIMIT", "on", "on", "off") == "on",

		TestNotifications: e.flag("ALLOW_TEST_NOTIFICATION_ENDPOINT", false),

		Templates:          templates(&e),
		TemplateServiceURL: e.optionalURL("TEMPLATE_SERVICE_URL", "http", "https"),
		Providers:          readProviders(&e),
		PushConcurrency:    e.number("PUSH_CONCURRENCY", 32, 1, 10000),
		PushPrefetch:       e.number("PUSH_PREFETCH", 64, 1, 65535),
	}
	readBroker(&e, &c)
	if c.AccessLifetime > c.RefreshLifetime {
		e.fault("JWT_ACCESS_TOKEN_LIFETIME", "is longer than JWT_REFRESH_TOKEN_LIFETIME", "at most as many minutes as that has")
	}
	if c.RefreshLifetime > auth.SessionsEnd {
		e.fault("JWT_REFRESH_TOKEN_LIFETIME", "is longer than any session lasts", fmt.Sprintf("at most %d minutes", auth.SessionsEnd/time.Minute))
	}
	c.SecretKey = secretKey(&e, c.Debug)
	c.MigrateOnStart = e.flag("MIGRATE_ON_START", c.Debug)
	if c.EmailTransport == "smtp" {
		c.MailServer = parsed(&e, "SMTP_URL", mail.Accepted, mail.ParseServer)
		c.EmailFrom = parsed(&e, "EMAIL_FROM", "no-reply@example.com, or Name <no-reply@example.com>", mail.ParseFrom)
	}
	return c, e.faults
}

// operatorConfig reads what the commands of operators need: they serve nobody and sign nothing.
func operatorConfig() (config, []string) {
	e := environment{}
	c := config{
		LogLevel:    e.logLevel("LOG_LEVEL", "WARN"),
		DatabaseURL: databaseURL(&e),
		RedisURL:    redisURL(&e),
		CacheTTL:    e.seconds("REDIS_CACHE_TTL", 3600),
	}
	return c, e.faults
}

// brokerConfig reads what the commands for dead letters need.
func brokerConfig() (config, []string) {
	e := environment{}
	c := config{LogLevel: e.logLevel("LOG_LEVEL", "WARN")}
	readBroker(&e, &c)
	return c, e.faults
}

// readBroker reads where RabbitMQ is and what is there.
func readBroker(e *environment, c *config) {
	c.RabbitMQURL = rabbitMQURL(e)
	c.Exchange = e.text("RABBITMQ_EXCHANGE", "notifications.direct")
	c.PushQueue = e.text("RABBITMQ_QUEUE_PUSH", "push.queue")
	c.DLX = e.text("RABBITMQ_DLX_EXCHANGE", "notifications.dlx")
	c.FailedQueue = e.text("RABBITMQ_FAILED_QUEUE", "failed.queue")
	c.Events = e.text("RABBITMQ_EVENTS_EXCHANGE", "user.events")
	c.PushRetrySteps = e.steps("PUSH_RETRY_STEPS", "10s,1m,10m,1h")
	c.EmailTransport = e.oneOf("EMAIL_TRANSPORT", "queue", "queue", "smtp", "log")
	c.StatusWebhookURL = e.optionalURL("STATUS_WEBHOOK_URL", "http", "https")
}

// parsed reads what cannot be done without. The errors of parse must not show a secret.
func parsed[T any](e *environment, name, accepted string, parse func(string) (T, error)) (value T) {
	if !e.has(name) {
		e.fault(name, "is missing", accepted)
		return value
	}
	value, err := parse(e.text(name, ""))
	if err != nil {
		e.fault(name, err.Error(), accepted)
	}
	return value
}

// tracing reads whether traces are wanted. All else of the standard OTEL_* variables
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) is read by
// OpenTelemetry itself.
func tracing(e *environment) bool {
	if e.flag("OTEL_SDK_DISABLED", false) {
		return false
	}
	exporter := "none"
	if e.has("OTEL_EXPORTER_OTLP_ENDPOINT") || e.has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
		exporter = "otlp"
	}
	if e.oneOf("OTEL_TRACES_EXPORTER", exporter, "otlp", "none") != "otlp" {
		return false
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		e.oneOf(name, "http/protobuf", "http/protobuf")
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		e.url(name, "http://localhost:4318", "http", "https")
	}
	e.oneOf("OTEL_TRACES_SAMPLER", "parentbased_always_on", "always_on", "always_off", "traceidratio",
		"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")
	e.fraction("OTEL_TRACES_SAMPLER_ARG")
	return true
}

// templates are the built-in ones, and those of the operator.
func templates(e *environment) push.Templates {
	all := push.BuiltInTemplates()
	if !e.has("TEMPLATE_DIR") {
		return all
	}
	folder := e.text("TEMPLATE_DIR", "")
	for _, fault := range all.Add(os.DirFS(folder)) {
		e.fault("TEMPLATE_DIR", fmt.Sprintf("is %q: %v", folder, fault), "a folder with files CODE.json or CODE.LANGUAGE.json that have a title and a body")
	}
	return all
}

// publicURL gets a page and a token put behind it.
func publicURL(e *environment) string {
	value := e.url("PUBLIC_URL", "http://localhost:8000", "http", "https")
	if strings.ContainsAny(value, "?#@") {
		e.fault("PUBLIC_URL", "has more than scheme, host and path", "http:// or https://, a host, and perhaps a path")
	}
	return value
}

func allowedHosts(e *environment) web.Hosts {
	hosts, err := web.ParseHosts(e.text("ALLOWED_HOSTS", "localhost,127.0.0.1"))
	if err != nil {
		e.fault("ALLOWED_HOSTS", err.Error(), web.AcceptedHosts)
	}
	return hosts
}

func secretKey(e *environment, debug bool) []byte {
	secret := e.text("SECRET_KEY", "")
	switch {
	case secret == "" && debug:
		return []byte(hex.EncodeToString(randomBytes(minSecret)))
	case secret == "":
		e.fault("SECRET_KEY", "is missing", "at least 32 random bytes, or DEBUG=true for a generated one")
	case len(secret) < minSecret:
		e.fault("SECRET_KEY", "has only "+strconv.Itoa(len(secret))+" bytes", "at least 32 random bytes")
	}
	return []byte(secret)
}

// signingKeys reads the files of JWT_PRIVATE_KEYS, and shows nothing of what is in them.
func signingKeys(e *environment) (keys []auth.SigningKey) {
	const name = "JWT_PRIVATE_KEYS"
	if !e.has(name) {
		return nil
	}
	for file := range strings.SplitSeq(e.text(name, ""), ",") {
		file = strings.TrimSpace(file)
		content, err := os.ReadFile(file)
		if err != nil {
			e.fault(name, fmt.Sprintf("names %q, which cannot be read", file), "files, separated by commas, of "+auth.AcceptedKeys)
			continue
		}
		found, err := auth.ParseSigningKeys(content)
		if err != nil {
			e.fault(name, fmt.Sprintf("names %q, which %s", file, err), auth.AcceptedKeys)
			continue
		}
		keys = append(keys, found...)
	}
	return keys
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	return b
}

func databaseURL(e *environment) string {
	if e.has("DATABASE_URL") {
		return e.url("DATABASE_URL", "", "postgres", "postgresql")
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(e.text("DB_USER", "postgres"), e.text("DB_PASSWORD", "")),
		Host: net.JoinHostPort(e.text("DB_HOST", "localhost"), strconv.Itoa(e.number("DB_PORT", 5432, 1, 65535))),
		Path: "/" + e.text("DB_NAME", "user_service_db"),
	}
	return u.String()
}

// databaseName tells this deployment from others that share its Redis.
func (c config) databaseName() string {
	u, err := url.Parse(c.DatabaseURL)
	if err != nil {
		return ""
	}
	return u.Path
}

func redisURL(e *environment) string {
	if e.has("REDIS_URL") {
		return e.url("REDIS_URL", "", "redis", "rediss")
	}
	u := url.URL{
		Scheme: "redis", Host: net.JoinHostPort(e.text("REDIS_HOST", "localhost"), strconv.Itoa(e.number("REDIS_PORT", 6379, 1, 65535))),
		Path: "/" + strconv.Itoa(e.number("REDIS_DB", 0, 0, 1<<20)),
	}
	return u.String()
}

func rabbitMQURL(e *environment) string {
	if e.has("RABBITMQ_URL") {
		return e.url("RABBITMQ_URL", "", "amqp", "amqps")
	}
	u := amqp.URI{
		Scheme: "amqp", Host: e.text("RABBITMQ_HOST", "localhost"), Port: e.number("RABBITMQ_PORT", 5672, 1, 65535),
		Username: e.text("RABBITMQ_USER", "guest"), Password: e.text("RABBITMQ_PASSWORD", "guest"), Vhost: e.text("RABBITMQ_VHOST", "/"),
	}
	if e.flag("RABBITMQ_USE_SSL", false) {
		u.Scheme = "amqps"
	}
	return u.String()
}
