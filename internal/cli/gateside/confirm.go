package gateside

import (
	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
)

// Confirm returns the command of that name.
func Confirm(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "confirm",
		Short: "Keep a change that would be reverted otherwise",
		Long: `A change that closes ports of the gate's own could lock you out, so it is
reverted after a minute unless it is confirmed. Confirm it from an ssh session
that you have opened after the change: an older one proves nothing. It is enough
to open a new one, if the gate sees it come through.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := asGate(a); err != nil {
				return err
			}
			session, err := host.SSHClient(host.SSHConnection())
			if err != nil {
				return command.Fail(command.ExitFailed, "run it in a new ssh session", "%w", err)
			}
			r, err := a.Client().Confirm(c.Context(), local.ConfirmRequest{Session: session})
			if err != nil {
				return err
			}
			a.Printf("the firewall stays\n")
			return a.Answer(r)
		},
	}
	a.JSONFlag(c, "print the report as JSON")
	return c
}
