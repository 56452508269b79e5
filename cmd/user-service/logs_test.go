package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// story lives through all that has to do with secrets, and remembers every secret.
type story struct {
	*process
	s       *stack
	broker  *broker
	servers []*servertest.Proxy
	secrets []string
}

func (s *story) hide(secrets ...string) { s.secrets = append(s.secrets, secrets...) }

func (s *story) hideTokens(k tokens) tokens {
	s.hide(k.AccessToken, k.RefreshToken, strings.Split(k.AccessToken, ".")[2])
	return k
}

func tell(t *testing.T, environment ...string) *story {
	t.Helper()
	s := &story{s: newStack(t)}
	var through []string
	for name, server := range map[string]string{
		"DATABASE_URL": s.s.config.DatabaseURL, "REDIS_URL": s.s.config.RedisURL, "RABBITMQ_URL": s.s.config.RabbitMQURL,
	} {
		proxy, address := servertest.NewProxy(t, server)
		u, err := url.Parse(server)
		require.NoError(t, err)
		if password, _ := u.User.Password(); len(password) > 8 { // a short one may be a word of ours
			s.hide(password)
		}
		s.servers, through = append(s.servers, proxy), append(through, name+"="+address)
	}
	s.process = s.s.run(t, append(through, append(environment, "LOG_LEVEL=DEBUG")...)...)
	s.broker = s.s.broker(t)
	s.hide(string(s.s.config.SecretKey), "example.com", "example.org", goodPassword, otherPassword)
	return s
}

func (s *story) signIns() (k tokens) {
	k = s.hideTokens(s.register())
	s.hide(k.User["push_token"].(string), k.User["email"].(string))
	wrong := "a wrong passphrase"
	s.hide(wrong)
	for _, email := range []any{k.User["email"], "nobody@example.org", "not an address@"} {
		require.NotEqual(s.t, 200, s.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": email, "password": wrong}).Status)
	}
	s.hideTokens(s.login(k))
	next, r := s.refresh(k.RefreshToken)
	require.Equal(s.t, 200, r.Status)
	s.hideTokens(next)
	s.refresh(k.RefreshToken + "tampered")
	s.call("GET", "/api/v1/users/me/", k.AccessToken+"tampered", nil)
	return s.hideTokens(s.login(k))
}

func (s *story) mails(k tokens) {
	email := k.User["email"]
	verification := s.broker.mail(email, "email_verification").token()
	require.Equal(s.t, 200, s.call("POST", verifyPath, "", map[string]any{"token": verification}).Status)
	s.call("GET", verifyPath+"?token="+verification, "", nil)
	s.call("POST", resendPath, "", map[string]any{"email": email})
	require.Equal(s.t, 200, s.call("POST", resetPath, "", map[string]any{"email": email}).Status)
	reset := s.broker.mail(email, "password_reset").token()
	s.hide(verification, reset, "not-a-token-of-ours")
	s.call("POST", confirmPath, "", map[string]any{"token": "not-a-token-of-ours", "password": otherPassword, "password_confirm": otherPassword})
	require.Equal(s.t, 200, s.call("POST", confirmPath, "", map[string]any{"token": reset, "password": otherPassword, "password_confirm": otherPassword}).Status)
	in := s.call("POST", "/api/v1/auth/login/", "", map[string]any{"email": email, "password": otherPassword})
	var again tokens
	in.into(s.t, &again)
	s.hideTokens(again)
	changed := s.call("POST", changePath, again.AccessToken, map[string]any{"current_password": otherPassword, "password": goodPassword, "password_confirm": goodPassword})
	require.Equal(s.t, 200, changed.Status, "%v", changed.Errors)
	changed.into(s.t, &again)
	s.hideTokens(again)
}

func (s *story) services(t *testing.T, k tokens) {
	key := strings.TrimSpace(s.s.createKey(t, "email-service"))
	s.hide(key, "usk_nothing")
	for _, shown := range []string{key, "usk_nothing"} {
		for _, path := range []string{"/contact/?type=email", "/push-token/", "/"} {
			s.withKey("GET", "/api/v1/users/"+k.id()+path, shown)
		}
	}
	s.call("GET", "/api/v1/users/?search="+url.QueryEscape(k.User["email"].(string)), k.AccessToken, nil)
	s.call("GET", "/"+key+"/"+url.PathEscape(k.User["email"].(string)), "", nil)
}

// pushes sends messages of every fate, with secrets where they do not belong.
func (s *story) pushes(k tokens) {
	device, email := k.User["push_token"].(string), k.User["email"].(string)
	var asked atomic.Int64
	s.s.provider.answers(func(map[string]any) (int, string) {
		return []int{500, 429, 400, 200}[asked.Add(1)%4], fmt.Sprintf(`{"id": %q, "error": "no such device %s of %s"}`, device, device, email)
	})
	misplaced := []func(map[string]any){
		func(map[string]any) {},
		func(body map[string]any) { body["template_code"] = device },
		func(body map[string]any) { body["template_code"] = k.AccessToken[:200] },
		func(body map[string]any) { body["notification_type"] = device },
		func(body map[string]any) { body["user_id"] = email },
		func(body map[string]any) { body["request_id"] = email },
		func(body map[string]any) { body["variables"] = map[string]any{device: k.AccessToken} },
		func(body map[string]any) { body["variables"] = device },
		func(body map[string]any) { body["priority"] = device },
	}
	for range 3 {
		for _, change := range misplaced {
			message := pushBody(k.id(), uuid.NewString(), change)
			message.CorrelationId, message.Type, message.Headers = email, device, amqp.Table{"authorization": k.AccessToken, "x-attempts": device}
			s.broker.push(message)
		}
	}
	for _, body := range []string{device, `{"token": "` + device, "\xff" + email, `["` + k.AccessToken + `"]`} {
		s.broker.push(amqp.Publishing{Body: []byte(body), MessageId: email})
	}
	servertest.Eventually(s.t, func() bool {
		return asked.Load() > 0 && s.broker.length("push.queue")+s.s.waiting(s.broker) == 0
	}, "every message has its fate")
}

func (s *story) outages(k tokens) {
	for _, server := range s.servers {
		server.Cut()
	}
	body := map[string]any{"email": k.User["email"], "password": goodPassword}
	servertest.Eventually(s.t, func() bool { return s.call("POST", "/api/v1/auth/login/", "", body).Status == 503 }, "no database")
	s.call("PATCH", "/api/v1/users/me/", k.AccessToken, map[string]any{"push_token": k.User["push_token"]})
	started := time.Now()
	servertest.Eventually(s.t, func() bool { return time.Since(started) > 2*time.Second }, "every part has noticed")
	for _, server := range s.servers {
		server.Restore()
	}
	servertest.Eventually(s.t, func() bool { status, _ := s.health(); return status == "healthy" }, "all is well again")
}

// end gives the lines of the log.
func (s *story) end() []string {
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(s.t, s.cmd.Wait(), "%s", s.output)
	return strings.Split(strings.TrimSpace(s.output.String()), "\n")
}

func TestNoLineOfTheLogTellsASecret(t *testing.T) {
	t.Parallel()
	for name, debug := range map[string]string{"JSON": "false", "readable": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, "DEBUG="+debug)
			k := s.signIns()
			s.services(t, k)
			s.pushes(k)
			s.mails(k)
			s.outages(k)
			lines := s.end()
			require.Greater(t, len(lines), 50)
			for _, line := range lines {
				for _, secret := range s.secrets {
					require.NotContains(t, line, secret)
				}
				if debug == "false" {
					requireKeys(t, line)
				}
			}
		})
	}
}

// requireKeys holds a line against what log systems are told to expect.
func requireKeys(t *testing.T, line string) map[string]any {
	t.Helper()
	var record map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &record), line)
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(record["timestamp"]))
	require.NoError(t, err, line)
	require.False(t, at.IsZero())
	require.Contains(t, []any{"DEBUG", "INFO", "WARN", "ERROR"}, record["level"], line)
	require.NotEmpty(t, record["logger"], line)
	require.NotEmpty(t, record["message"], line)
	return record
}

func TestEveryRequestAndMessageHasOneLine(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.run(t)
	b := s.broker(t)
	listening := b.listen()
	k := p.register()
	req, err := http.NewRequest(http.MethodGet, p.base+"/api/v1/users/me?secret=in-the-query", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+k.AccessToken)
	req.Header.Set("X-Correlation-ID", "of-the-request")
	require.Equal(t, 200, p.do(req).Status)
	message := pushBody(k.id(), uuid.NewString())
	message.CorrelationId = "of-the-message"
	b.push(message)
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "push.sent")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "%s", p.output)

	of := map[any][]map[string]any{}
	for line := range strings.Lines(p.output.String()) {
		record := requireKeys(t, line)
		of[record["correlation_id"]] = append(of[record["correlation_id"]], record)
	}
	require.Len(t, of["of-the-request"], 1)
	request := of["of-the-request"][0]
	require.Greater(t, request["duration_ms"], 0.0)
	require.Greater(t, request["bytes"], 0.0)
	require.NotEmpty(t, request["session"])
	for key, want := range map[string]any{
		"message": "request", "logger": "http", "level": "INFO", "method": "GET", "route": "/api/v1/users/me/", "status": 200.0, "user_id": k.id(),
	} {
		require.Equal(t, want, request[key], key)
	}
	require.Len(t, of["of-the-message"], 1)
	handled := of["of-the-message"][0]
	require.Greater(t, handled["duration_ms"], 0.0)
	for key, want := range map[string]any{"message": "message", "logger": "consumer", "queue": "push.queue", "fate": "handled", "attempt": 1.0} {
		require.Equal(t, want, handled[key], key)
	}
	require.NotContains(t, p.output.String(), "in-the-query")
}
