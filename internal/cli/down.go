package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

func downCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop, and leave the machine as it was found",
		Long: `Down stops the daemon and removes everything that it set up: the interface, the
nftables table, rules and routes. Kernel settings get their previous values
again. Configuration, keys and enrolment stay. Down also cleans up after a daemon
that crashed.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			var done []string
			err := a.Editor().Alone(c.Context(), func() (err error) {
				done, err = a.Down(context.WithoutCancel(c.Context())) // as a whole, once it has begun
				return err
			})
			if err != nil {
				return err
			}
			return a.Answer(command.Deeds{Done: done})
		},
	}
	a.JSONFlag(c, "print what was done as JSON")
	return c
}
