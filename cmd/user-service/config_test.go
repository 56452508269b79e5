package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/modules/auth"
	"user-service/platform/servertest"
)

// setOnly sets these variables and empties every other one that the service reads.
func setOnly(t *testing.T, variables map[string]string) {
	t.Helper()
	for name := range strings.FieldsSeq(`SECRET_KEY DEBUG LOG_LEVEL PORT METRICS_PORT DATABASE_URL DB_NAME DB_USER DB_PASSWORD DB_HOST DB_PORT
		REDIS_URL REDIS_HOST REDIS_PORT REDIS_DB REDIS_CACHE_TTL RABBITMQ_URL RABBITMQ_HOST RABBITMQ_PORT RABBITMQ_USER
		RABBITMQ_PASSWORD RABBITMQ_VHOST RABBITMQ_USE_SSL RABBITMQ_EXCHANGE RABBITMQ_QUEUE_PUSH RABBITMQ_DLX_EXCHANGE RABBITMQ_FAILED_QUEUE
		RABBITMQ_EVENTS_EXCHANGE JWT_ACCESS_TOKEN_LIFETIME JWT_REFRESH_TOKEN_LIFETIME JWT_PRIVATE_KEYS PUSH_PROVIDER PUSH_WEBHOOK_URL FCM_CREDENTIALS FCM_BASE_URL APNS_KEY_FILE APNS_KEY_ID APNS_TEAM_ID APNS_TOPIC APNS_BASE_URL
		TEMPLATE_DIR TEMPLATE_SERVICE_URL STATUS_WEBHOOK_URL PUSH_CONCURRENCY
		PUSH_PREFETCH PUSH_RETRY_STEPS TEMPLATE_DIR MIGRATE_ON_START EMAIL_TRANSPORT EMAIL_FROM SMTP_URL PUBLIC_URL RATE_LIMIT TRUSTED_PROXIES
		PPROF OTEL_SDK_DISABLED OTEL_TRACES_EXPORTER OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
		OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG
		ALLOWED_HOSTS CORS_ALLOWED_ORIGINS ALLOW_TEST_NOTIFICATION_ENDPOINT`) {
		t.Setenv(name, variables[name])
	}
}

const longSecret = "0123456789abcdef0123456789abcdef"

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret})
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.Equal(t, "postgres://postgres:@localhost:5432/user_service_db", c.DatabaseURL)
	require.Equal(t, "redis://localhost:6379/0", c.RedisURL)
	require.Equal(t, "amqp://localhost/", c.RabbitMQURL)
	require.Equal(t, [2]int{8000, 9090}, [2]int{c.Port, c.MetricsPort})
	require.Equal(t, time.Hour, c.CacheTTL)
	require.Equal(t, [2]time.Duration{time.Hour, 24 * time.Hour}, [2]time.Duration{c.AccessLifetime, c.RefreshLifetime})
	require.Equal(t, []string{"notifications.direct", "push.queue", "notifications.dlx", "failed.queue", "user.events"},
		[]string{c.Exchange, c.PushQueue, c.DLX, c.FailedQueue, c.Events})
	require.Equal(t, [2]int{32, 64}, [2]int{c.PushConcurrency, c.PushPrefetch})
	require.Equal(t, []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}, c.PushRetrySteps)
	require.Equal(t, []string{"log"}, c.Providers.Names)
	require.Equal(t, []string{"queue", "http://localhost:8000"}, []string{c.EmailTransport, c.PublicURL})
	require.True(t, c.RateLimit)
	require.Empty(t, c.TrustedProxies)
	require.Equal(t, []bool{true, true, false}, []bool{c.AllowedHosts.Allow("localhost:8000"), c.AllowedHosts.Allow("127.0.0.1"), c.AllowedHosts.Allow("example.com")})
	require.Equal(t, []string{"http://localhost:3000"}, c.AllowedOrigins)
	require.False(t, c.TestNotifications)
	require.False(t, c.Debug)
	require.False(t, c.Pprof)
	require.False(t, c.Tracing)
	require.False(t, c.MigrateOnStart)
}

func TestDebugGeneratesASecretAndMigrates(t *testing.T) {
	setOnly(t, map[string]string{"DEBUG": "true"})
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.GreaterOrEqual(t, len(c.SecretKey), minSecret)
	require.True(t, c.MigrateOnStart)
}

func TestEveryFaultIsToldAtOnceByItsVariableAndWithoutSecrets(t *testing.T) {
	setOnly(t, map[string]string{
		"SECRET_KEY": "short-secret", "PORT": "http", "DB_PORT": "0", "REDIS_URL": "http://:hidden@host", "RABBITMQ_URL": "amqp://user:hidden@",
		"DEBUG": "perhaps", "LOG_LEVEL": "LOUD", "PUSH_PROVIDER": "pigeon", "PUSH_RETRY_STEPS": "1m,10s", "JWT_ACCESS_TOKEN_LIFETIME": "-1",
		"PUSH_PREFETCH": "99999999999999999999", "EMAIL_TRANSPORT": "pigeon", "PUBLIC_URL": "https://example.com/?token=hidden",
		"PPROF": "perhaps", "OTEL_TRACES_EXPORTER": "zipkin", "TEMPLATE_SERVICE_URL": "templates:80", "TEMPLATE_DIR": "/none such", "STATUS_WEBHOOK_URL": "ftp://gateway/?hidden",
		"RATE_LIMIT": "sometimes", "TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.0/33",
		"ALLOWED_HOSTS": "https://example.com", "CORS_ALLOWED_ORIGINS": "example.com", "ALLOW_TEST_NOTIFICATION_ENDPOINT": "perhaps",
	})
	_, faults := loadConfig()
	all := strings.Join(faults, "\n")
	for _, name := range []string{
		"SECRET_KEY", "PORT", "DB_PORT", "REDIS_URL", "RABBITMQ_URL", "DEBUG", "LOG_LEVEL", "PUSH_PROVIDER", "PUSH_RETRY_STEPS",
		"JWT_ACCESS_TOKEN_LIFETIME", "PUSH_PREFETCH", "EMAIL_TRANSPORT", "PUBLIC_URL",
		"RATE_LIMIT", "TRUSTED_PROXIES", "ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "ALLOW_TEST_NOTIFICATION_ENDPOINT",
		"PPROF", "OTEL_TRACES_EXPORTER", "TEMPLATE_SERVICE_URL", "TEMPLATE_DIR", "STATUS_WEBHOOK_URL",
	} {
		require.Contains(t, "\n"+all, "\n"+name+" ")
	}
	require.Len(t, faults, 23)
	for _, fault := range faults {
		require.Contains(t, fault, "accepted: ")
		require.NotContains(t, fault, "\n")
	}
	require.NotContains(t, all, "hidden")
	require.NotContains(t, all, "short-secret")
}

func TestPrivateKeysAreReadInTheirOrder(t *testing.T) {
	_, newKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	oldKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	write := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	both := append(pemOf(t, newKey), pemOf(t, oldKey)...)
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "JWT_PRIVATE_KEYS": write("new.pem", pemOf(t, newKey)) + ", " + write("old.pem", pemOf(t, oldKey))})
	c, faults := loadConfig()
	require.Empty(t, faults)
	want, err := auth.ParseSigningKeys(both)
	require.NoError(t, err)
	require.Equal(t, want, c.SigningKeys)

	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "JWT_PRIVATE_KEYS": "/nowhere.pem," + write("odd.pem", []byte("hidden"))})
	_, faults = loadConfig()
	require.Len(t, faults, 2, "each file has its line")
	require.Contains(t, faults[0], `JWT_PRIVATE_KEYS names "/nowhere.pem", which cannot be read; accepted: files, separated by commas, of PEM`)
	require.Contains(t, faults[1], `odd.pem", which holds no private key; accepted: PEM`)
	require.NotContains(t, strings.Join(faults, ""), "hidden")
}

func TestAccessTokenOutlivesNoSession(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "JWT_ACCESS_TOKEN_LIFETIME": "31", "JWT_REFRESH_TOKEN_LIFETIME": "30"})
	_, faults := loadConfig()
	require.Equal(t, []string{"JWT_ACCESS_TOKEN_LIFETIME is longer than JWT_REFRESH_TOKEN_LIFETIME; accepted: at most as many minutes as that has"}, faults)
}

func TestRefreshTokenOutlivesNoSession(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "JWT_REFRESH_TOKEN_LIFETIME": "129600"})
	_, faults := loadConfig()
	require.Empty(t, faults)
	t.Setenv("JWT_REFRESH_TOKEN_LIFETIME", "129601")
	_, faults = loadConfig()
	require.Equal(t, []string{"JWT_REFRESH_TOKEN_LIFETIME is longer than any session lasts; accepted: at most 129600 minutes"}, faults)
}

func TestWebhookNeedsItsURL(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "PUSH_PROVIDER": "webhook"})
	_, faults := loadConfig()
	require.Equal(t, []string{"PUSH_WEBHOOK_URL is missing; accepted: http:// or https:// and a host"}, faults)
}

func TestMailServerNeedsItsURLAndASender(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "EMAIL_TRANSPORT": "smtp"})
	_, faults := loadConfig()
	require.Len(t, faults, 2)
	require.Contains(t, faults[0], "SMTP_URL is missing; accepted: smtp://")
	require.Contains(t, faults[1], "EMAIL_FROM is missing; accepted: no-reply@example.com")

	t.Setenv("SMTP_URL", "smtp://user:hidden@mail.example.com?tls=off")
	t.Setenv("EMAIL_FROM", "nobody")
	_, faults = loadConfig()
	require.Len(t, faults, 2)
	require.Contains(t, faults[0], "SMTP_URL would show the password to the network without TLS; accepted: smtp://")
	require.Contains(t, faults[1], "EMAIL_FROM is no mail address in ASCII; accepted: ")
	require.NotContains(t, strings.Join(faults, ""), "hidden")

	t.Setenv("SMTP_URL", "smtps://user:hidden@mail.example.com")
	t.Setenv("EMAIL_FROM", "The Service <no-reply@example.com>")
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.Equal(t, "no-reply@example.com", c.EmailFrom.Address)

	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "EMAIL_TRANSPORT": "log", "SMTP_URL": "left over"})
	_, faults = loadConfig()
	require.Empty(t, faults, "what is not used may be anything")
}

func TestTrustedProxiesAreNetworksOrAddresses(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,fd00::/8 ,::1,::ffff:192.0.2.8,", "RATE_LIMIT": "off"})
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.False(t, c.RateLimit)
	var networks []string
	for _, network := range c.TrustedProxies {
		networks = append(networks, network.String())
	}
	require.Equal(t, []string{"10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "::1/128", "192.0.2.8/32"}, networks)
	for _, wrong := range []string{"proxy.example.com", "10.0.0.0/8;10.1.0.0/16", "10.0.0.1:80", "10.0.0.0/"} {
		setOnly(t, map[string]string{"SECRET_KEY": longSecret, "TRUSTED_PROXIES": wrong})
		_, faults := loadConfig()
		require.Len(t, faults, 1, wrong)
		require.Contains(t, faults[0], "TRUSTED_PROXIES has ")
	}
}

func TestHostsAndOriginsAreLists(t *testing.T) {
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "ALLOWED_HOSTS": " api.example.com, .example.org,[::1] ,", "CORS_ALLOWED_ORIGINS": "https://App.example.com , http://[::1]:3000,*,"})
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.True(t, c.AllowedHosts.Allow("a.example.org"))
	require.Equal(t, []string{"https://App.example.com", "http://[::1]:3000", "*"}, c.AllowedOrigins)
	for _, wrong := range []string{"https://a.com/", "ftp://a.com", "a.com", "https://", "https://u@a.com", "https://a.com?b", "null", "https://a.com https://b.com", "https://*.a.com", " , "} {
		setOnly(t, map[string]string{"SECRET_KEY": longSecret, "CORS_ALLOWED_ORIGINS": wrong})
		_, faults := loadConfig()
		require.Len(t, faults, 1, wrong)
		require.Contains(t, faults[0], "accepted: * or origins")
	}
}

func TestPasswordsOfPartsAreEscaped(t *testing.T) {
	setOnly(t, map[string]string{
		"SECRET_KEY": longSecret, "DB_PASSWORD": "p@ss/word", "RABBITMQ_PASSWORD": "p@ss/word", "RABBITMQ_VHOST": "a/b", "RABBITMQ_USE_SSL": "true",
	})
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.Contains(t, c.DatabaseURL, "postgres:p%40ss%2Fword@")
	require.Equal(t, "amqps://guest:p%40ss%2Fword@localhost:5672/a%2Fb", c.RabbitMQURL)
}

func TestTracesAreMadeWhenTheStandardVariablesAskForThem(t *testing.T) {
	for name, test := range map[string]struct {
		variables map[string]string
		traced    bool
	}{
		"nothing":           {nil, false},
		"an endpoint":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, true},
		"one of traces":     {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, true},
		"the exporter":      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		"no exporter":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		"disabled, however": {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			variables := map[string]string{"SECRET_KEY": longSecret}
			maps.Copy(variables, test.variables)
			setOnly(t, variables)
			c, faults := loadConfig()
			require.Empty(t, faults)
			require.Equal(t, test.traced, c.Tracing)
		})
	}
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
	_, faults := loadConfig()
	require.Len(t, faults, 2)
	require.Equal(t, `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; accepted: http/protobuf`, faults[0])
	require.Contains(t, faults[1], "OTEL_EXPORTER_OTLP_ENDPOINT has the scheme")
	setOnly(t, map[string]string{"SECRET_KEY": longSecret, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "weird", "OTEL_TRACES_SAMPLER_ARG": "NaN"})
	_, faults = loadConfig()
	require.Len(t, faults, 2)
	require.Contains(t, faults[0], `OTEL_TRACES_SAMPLER is "weird"; accepted: always_on,`)
	require.Equal(t, `OTEL_TRACES_SAMPLER_ARG is "NaN"; accepted: a number from 0 to 1`, faults[1])
}

func TestVendorsNeedTheirFilesAndIDs(t *testing.T) {
	google, apple := servertest.NewFCM(t), servertest.NewAPNs(t)
	whole := map[string]string{
		"SECRET_KEY": longSecret, "PUSH_PROVIDER": "fcm,apns", "FCM_CREDENTIALS": google.Credentials,
		"APNS_KEY_FILE": apple.KeyFile, "APNS_KEY_ID": "KEY1234567", "APNS_TEAM_ID": "TEAM123456", "APNS_TOPIC": "com.example.app",
	}
	setOnly(t, whole)
	c, faults := loadConfig()
	require.Empty(t, faults)
	require.Equal(t, []string{"fcm", "apns"}, c.Providers.Names)
	for name, faulty := range map[string]string{"FCM_CREDENTIALS": apple.KeyFile, "APNS_KEY_FILE": google.Credentials, "APNS_KEY_ID": "key", "APNS_TEAM_ID": "team", "APNS_TOPIC": ""} {
		for _, value := range []string{"", faulty} {
			changed := maps.Clone(whole)
			changed[name] = value
			setOnly(t, changed)
			_, faults = loadConfig()
			require.Len(t, faults, 1, name)
			require.Regexp(t, "^"+name+" (is missing|is \"(key|team)\"|names .*, which (is|holds) no .*); accepted: .+", faults[0])
		}
	}
}
