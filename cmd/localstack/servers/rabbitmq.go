package servers

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const rabbitUser = "user_service"

// RabbitMQ is RabbitMQ with its management plugin and an epmd (Erlang's register of nodes) of its own.
var RabbitMQ = &Kind{
	Name:     "rabbitmq",
	Variable: "RABBITMQ_URL",
	Package:  "rabbitmq-server",
	Minimum:  "3.10",

	candidates: rabbitCandidates,
	series:     func(version string) string { return firstParts(version, 2) },
	ports:      []string{"server", "management", "distribution", "epmd"},
	stopSignal: syscall.SIGTERM,
	prepare:    prepareRabbit,
	commands:   rabbitCommands,
	url:        func(i *Instance) string { return fmt.Sprintf("amqp://%s:%s@%s/%%2F", rabbitUser, i.rec.Secret, i.Addr) },
	login:      loginRabbit,
	check:      checkRabbit,
}

func managementURL(i *Instance) string {
	return fmt.Sprintf("http://%s:%s@127.0.0.1:%d", rabbitUser, i.rec.Secret, i.port("management"))
}

// rabbitCandidates looks for the folder with RabbitMQ's own script. The one in /usr/sbin is the
// distribution's wrapper, which insists on the system's server.
func rabbitCandidates() (found []Binary) {
	if _, err := epmd(); err != nil {
		return nil // no Erlang
	}
	for _, dir := range glob(onPath("rabbitmq-server"), "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
		"/usr/local/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq*/sbin",
		"/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin") {
		plugins, _ := filepath.Glob(filepath.Join(dir, "../plugins/rabbit-[0-9]*"))
		if len(plugins) > 0 && exists(filepath.Join(dir, "rabbitmq-env")) {
			version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(plugins[0]), "rabbit-"), ".ez")
			found = append(found, Binary{Path: dir, Version: version})
		}
	}
	return found
}

// epmd is on the PATH or with the run-time system of the Erlang that is.
func epmd() (string, error) {
	for dir := range strings.SplitSeq(searchPath(), ":") {
		if path, err := exec.LookPath(filepath.Join(dir, "epmd")); err == nil {
			return path, nil
		}
	}
	for _, dir := range glob(filepath.Join(onPath("erl"), "../erts-*/bin"), "/usr/lib/erlang/erts-*/bin", "/usr/local/lib/erlang/erts-*/bin") {
		return filepath.Join(dir, "epmd"), nil
	}
	return "", exec.ErrNotFound
}

func prepareRabbit(_ context.Context, i *Instance) error {
	// Erlang looks up the node's host; not every machine knows localhost.
	if _, err := i.writeOwned("inetrc", `{host, {127,0,0,1}, ["localhost"]}.
{lookup, [file, native]}.
`); err != nil {
		return err
	}
	if _, err := i.writeOwned("enabled_plugins", "[rabbitmq_management].\n"); err != nil {
		return err
	}
	_, err := i.writeOwned("rabbitmq.conf", fmt.Sprintf(`listeners.tcp.local = 127.0.0.1:%d
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
default_user = %s
default_pass = %s
default_user_tags.administrator = true
# A development machine is often nearly full; the defaults would block publishers then.
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.6
log.console = true
log.console.level = info
log.file = false
`, i.port("server"), i.port("management"), rabbitUser, i.rec.Secret))
	return err
}

func rabbitCommands(i *Instance) []command {
	epmdPath, _ := epmd()
	file := func(name string) string { return filepath.Join(i.data(), name) }
	return []command{
		{path: epmdPath, env: i.rabbitNames()},
		{path: filepath.Join(i.binary.Path, "rabbitmq-server"), env: append(i.rabbitNames(),
			// The script then replaces itself with the server, whose process id we keep.
			"RUNNING_UNDER_SYSTEMD=true",
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", i.port("distribution")),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
			"RABBITMQ_CONFIG_FILE="+file("rabbitmq.conf"),
			"RABBITMQ_ADVANCED_CONFIG_FILE="+file("none"),
			"RABBITMQ_ENABLED_PLUGINS_FILE="+file("enabled_plugins"),
			"RABBITMQ_GENERATED_CONFIG_DIR="+file("config"),
			"RABBITMQ_MNESIA_BASE="+file("mnesia"),
			"RABBITMQ_LOG_BASE="+file("log"),
			"RABBITMQ_LOGS=-",
			"RABBITMQ_PID_FILE="+file("pid"),
			"ERL_CRASH_DUMP_SECONDS=0",
		)},
	}
}

// rabbitNames are the settings by which the programs of RabbitMQ find each other.
func (i *Instance) rabbitNames() []string {
	return []string{
		fmt.Sprintf("ERL_EPMD_PORT=%d", i.port("epmd")),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODENAME=localstack-%s@localhost", i.rec.Node),
		"ERL_INETRC=" + filepath.Join(i.data(), "inetrc"),
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(i.data(), "none"),
	}
}

func loginRabbit(ctx context.Context, i *Instance) error {
	if err := checkRabbit(ctx, i.URL); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, "GET", i.ManagementURL+"/api/whoami", nil)
	if err != nil {
		return err
	}
	request.Close = true // the server would wait for an idle connection when it stops
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("management API: %s", response.Status)
	}
	return nil
}

func checkRabbit(ctx context.Context, url string) error {
	limit := 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(limit), Heartbeat: 10 * time.Second})
	if err != nil {
		return err
	}
	return conn.Close()
}

// Control runs rabbitmqctl for the server; there is none for other kinds.
func (i *Instance) Control(ctx context.Context, args ...string) error {
	if err := i.locate(); err != nil {
		return err
	}
	return i.run(ctx, command{path: filepath.Join(i.binary.Path, "rabbitmqctl"), args: args, env: i.rabbitNames()})
}
