package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"user-service/modules/auth"
)

type createSuperuserCommand struct {
	Email         string `help:"Address to sign in with."`
	Name          string `help:"Name that others see."`
	PasswordStdin bool   `help:"Read the password from standard input, one line, instead of asking for it."`
}

// Run makes a staff account.
func (s createSuperuserCommand) Run(ctx context.Context) error {
	return withModules(ctx, func(k *core) error {
		wanted, err := s.complete(ctx)
		if err != nil {
			return err
		}
		id, err := k.auth.CreateSuperuser(ctx, wanted)
		if err != nil {
			return err
		}
		fmt.Println("created the superuser", id)
		return nil
	})
}

// complete asks for what the command line does not say.
func (s createSuperuserCommand) complete(ctx context.Context) (auth.Superuser, error) {
	wanted := auth.Superuser{Email: s.Email, Name: s.Name}
	missing := s.missing()
	if len(missing) > 0 && (s.PasswordStdin || !term.IsTerminal(int(os.Stdin.Fd()))) {
		return wanted, fmt.Errorf("nobody can be asked for what is missing: %s", strings.Join(missing, ", "))
	}
	if s.PasswordStdin {
		password, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if password == "" && err != nil { // the last line may lack its end
			return wanted, errors.New("standard input holds no password")
		}
		wanted.Password = strings.TrimRight(password, "\r\n")
		return wanted, nil
	}
	err := atTerminal(ctx, func(t *term.Terminal) error { return ask(t, &wanted) })
	return wanted, err
}

func (s createSuperuserCommand) missing() (flags []string) {
	if s.Email == "" {
		flags = append(flags, "--email")
	}
	if s.Name == "" {
		flags = append(flags, "--name")
	}
	if !s.PasswordStdin {
		flags = append(flags, "--password-stdin")
	}
	return flags
}

var (
	errGivenUp         = errors.New("given up, nothing was created")
	errPasswordsDiffer = errors.New("the two passwords differ, nothing was created")
)

// atTerminal has fn read from the terminal, until ctx ends: a read does not hear of that. The
// terminal shows nothing by itself meanwhile, so that a password typed ahead is not seen either.
func atTerminal(ctx context.Context, fn func(*term.Terminal) error) error {
	keyboard := int(os.Stdin.Fd())
	before, err := term.MakeRaw(keyboard)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(keyboard, before) }()
	done := make(chan error, 1)
	go func() {
		done <- fn(term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{os.Stdin, os.Stderr}, ""))
	}()
	select {
	case err := <-done:
		if errors.Is(err, io.EOF) { // Ctrl-C or Ctrl-D
			err = errGivenUp
		}
		return err
	case <-ctx.Done():
		return errGivenUp
	}
}

// ask prompts for what is missing, and takes the password unseen and twice.
func ask(t *term.Terminal, wanted *auth.Superuser) (err error) {
	for _, question := range []struct {
		text   string
		answer *string
	}{{"Email: ", &wanted.Email}, {"Name: ", &wanted.Name}} {
		if *question.answer != "" {
			continue
		}
		t.SetPrompt(question.text)
		if *question.answer, err = t.ReadLine(); err != nil {
			return err
		}
	}
	if wanted.Password, err = t.ReadPassword("Password: "); err != nil {
		return err
	}
	again, err := t.ReadPassword("Password (again): ")
	if err == nil && again != wanted.Password {
		err = errPasswordsDiffer
	}
	return err
}
