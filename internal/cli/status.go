package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
)

func statusCommand(a *command.App) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:     "status",
		Aliases: []string{"list", "ls", "ps"},
		Short:   "Say how it stands: verdict, tunnel, forwards and what passed through them",
		Long: `Status says in its first line how things stand, and then what that rests on.
Exit code 0: all is well; 1: something of it is not; 5: nobody can reach
anything, or the daemon is not running.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := command.Excludes(c, "json", "watch"); err != nil {
				return err
			}
			if watch {
				return watchStatus(c.Context(), a)
			}
			return showStatus(c.Context(), a)
		},
	}
	a.JSONFlag(c, "print the report as JSON")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every two seconds")
	return c
}

// showStatus also prints a report when no daemon answers: that it does not is
// what the owner wants to know.
func showStatus(ctx context.Context, a *command.App) error {
	r, err := report(ctx, a)
	if err != nil {
		return err
	}
	r = r.Judged(time.Now())
	a.PrintReport(r)
	if err := a.Answer(r); err != nil {
		return err
	}
	switch r.Verdict.Level {
	case status.OK:
		return nil
	case status.Warning:
		return command.Outcome(command.ExitFailed)
	default:
		return command.Outcome(command.ExitUnreachable)
	}
}

// report returns how things stand; that no daemon answers, too, is a report.
func report(ctx context.Context, a *command.App) (status.Report, error) {
	role, err := a.Paths().Role()
	if err != nil {
		return status.Report{}, err
	}
	r, err := a.Client().Status(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		return status.NotRunning(string(role), a.Version), nil
	}
	return r, err
}
