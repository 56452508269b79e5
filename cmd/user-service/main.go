// Command user-service is the user service: REST API, consumer of push.queue and relay of the
// domain events in one process, or each in its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// version is set by the linker.
var version = "dev"

type commandLine struct {
	Serve        serveCommand           `cmd:"" help:"Serve the API, consume push.queue and carry events to RabbitMQ. Example: user-service serve --only api"`
	Consume      consumeCommand         `cmd:"" help:"Only consume push.queue (serve --only consumer). Example: user-service consume"`
	Migrate      migrateCommand         `cmd:"" help:"Bring the database up to date. Example: user-service migrate up"`
	Superuser    createSuperuserCommand `cmd:"" name:"createsuperuser" help:"Make a staff account; asks on the terminal for what is missing. Example: user-service createsuperuser --email ada@example.com --name 'Ada Lovelace'"`
	ServiceKey   serviceKeyCommand      `cmd:"" help:"Make, list and revoke the keys by which sibling services call the API. Example: user-service service-key create email-service"`
	ImportDjango importDjangoCommand    `cmd:"" help:"Take over the users of the original Django service, passwords included; may run again, and while the service runs. Example: user-service import-django --dsn postgres://reader:secret@old-host/user_service_db"`
	Failed       failedCommand          `cmd:"" help:"See, give back and delete the messages that could not be handled. Example: user-service failed list"`
	Openapi      openapiCommand         `cmd:"" name:"openapi" help:"Print the OpenAPI document of the API. Example: user-service openapi > openapi.json"`
	Health       healthCommand          `cmd:"" help:"Ask the service on this machine whether it is ready; exit status 0 or 1. Example: user-service health"`
	Hash         hashCommand            `cmd:"" hidden:"" help:"Hash passwords for the service that started this. Example: none"`
	Version      versionCommand         `cmd:"" help:"Print the version. Example: user-service version"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "user-service:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := leaveNoCore(); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := godotenv.Load(); err != nil && !errors.Is(err, os.ErrNotExist) { // what is set already wins
		return errors.New(".env cannot be read; accepted: lines of NAME=value") // err may quote a secret
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := kong.Parse(&commandLine{}, kong.Name("user-service"), kong.UsageOnError(),
		kong.Description("The user service: accounts, sign-in, profiles, notification preferences and push delivery."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Writers(os.Stdout, discreet{os.Stderr}))
	return command.Run()
}

// discreet blots out the passwords of URLs: kong quotes an argument it did not expect.
type discreet struct{ out io.Writer }

var userOfURL = regexp.MustCompile(`://[^@\s]+@`)

// Write implements io.Writer.
func (d discreet) Write(p []byte) (int, error) {
	_, err := d.out.Write(userOfURL.ReplaceAll(p, []byte("://…@")))
	return len(p), err
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run() error {
	fmt.Println("user-service", version)
	return nil
}
