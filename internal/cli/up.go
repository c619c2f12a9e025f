package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

func upCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:     "up",
		Aliases: []string{"start"},
		Short:   "Start the daemon in the background",
		Long: `Up starts the service gatelodge, where systemd has it, and waits until it is
ready. Elsewhere it starts the daemon itself, which then runs only until the
next boot.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.Up(c.Context())
			if err != nil {
				return command.Stopped(c.Context(), err, "a daemon that was started goes on: gatelodge status")
			}
			return a.Answer(r.Judged(time.Now()))
		},
	}
	a.JSONFlag(c, "print the report as JSON")
	return c
}
