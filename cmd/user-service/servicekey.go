package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

type serviceKeyCommand struct {
	Create serviceKeyCreate `cmd:"" help:"Make a key and print it, this once. Example: user-service service-key create email-service > email-service.key"`
	List   serviceKeyList   `cmd:"" help:"List all keys, the revoked ones too. Example: user-service service-key list"`
	Revoke serviceKeyRevoke `cmd:"" help:"End a key; every instance refuses it within a second. Example: user-service service-key revoke email-service"`
}

type (
	serviceKeyCreate struct {
		Name string `arg:"" help:"What the key is called: a-z, 0-9, dot, dash and underscore."`
	}
	serviceKeyList   struct{}
	serviceKeyRevoke struct {
		Name string `arg:"" help:"What the key is called."`
	}
)

// Run prints the key alone, so that it can go into a file or a secret store.
func (s serviceKeyCreate) Run(ctx context.Context) error {
	return withModules(ctx, func(k *core) error {
		key, err := k.auth.CreateServiceKey(ctx, s.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "The key of %s, shown this once. Its service sends it as X-API-Key:\n", s.Name)
		fmt.Println(key)
		return nil
	})
}

// Run prints a table.
func (serviceKeyList) Run(ctx context.Context) error {
	return withModules(ctx, func(k *core) error {
		keys, err := k.auth.ServiceKeys(ctx)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			fmt.Fprintln(os.Stderr, "There are no keys; `user-service service-key create NAME` makes one.")
			return nil
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "NAME\tHINT\tCREATED\tLAST USED\tREVOKED")
		for _, key := range keys {
			_, _ = fmt.Fprintf(table, "%s\t%s…\t%s\t%s\t%s\n", key.Name, key.Hint, when(&key.CreatedAt), when(key.LastUsedAt), when(key.RevokedAt))
		}
		return table.Flush()
	})
}

func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// Run ends a key.
func (s serviceKeyRevoke) Run(ctx context.Context) error {
	return withModules(ctx, func(k *core) error {
		if err := k.auth.RevokeServiceKey(ctx, s.Name); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "The key %s is revoked.\n", s.Name)
		return nil
	})
}
