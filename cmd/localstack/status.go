package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"user-service/cmd/localstack/servers"
)

type statusCommand struct{}

func (statusCommand) Help() string { return "Example:\n  localstack status --state .local/test" }

// Run reads only: it takes no lock, so it answers while another call starts servers.
func (statusCommand) Run(ctx context.Context, s *stack) error {
	st, err := s.load()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVER\tVERSION\tADDRESS\tPID\tSTATE")
	for _, k := range servers.Kinds {
		if st.Compose.has(k) {
			state := "up (docker)"
			if err := k.Check(ctx, st.Compose.url(k)); err != nil {
				state = "docker: " + err.Error()
			}
			fmt.Fprintf(table, "%s\t-\t%s\t-\t%s\n", k.Name, st.Compose.addr(k), state)
			continue
		}
		i, err := k.Open(s.folder(k))
		if err != nil {
			return err
		}
		state := "up"
		if err := i.Ready(ctx); err != nil {
			state = err.Error()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", k.Name, dash(i.Version), dash(i.Addr), dash(pid(i)), state)
	}
	return table.Flush()
}

func pid(i *servers.Instance) string {
	if i.PID() == 0 {
		return ""
	}
	return fmt.Sprint(i.PID())
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
