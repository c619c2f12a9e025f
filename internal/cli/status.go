package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

func statusCommand(a *command.App) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:     "status",
		Aliases: []string{"list", "ls", "ps"},
		Short:   "Show the tunnel, the forwards and what passed through them",
		Args:    command.None,
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
	role, err := a.Paths().Role()
	if err != nil {
		return err
	}
	report, err := a.Client().Status(ctx)
	notRunning := errors.Is(err, local.ErrNotRunning)
	if err != nil && !notRunning {
		return err
	}
	if notRunning {
		report = status.NotRunning(string(role), a.Version)
	}
	if printed := errors.Join(a.PrintReport(report), a.Answer(report)); printed != nil {
		return printed
	}
	return err
}

// watchInterval is how often --watch asks again.
const watchInterval = 2 * time.Second

func watchStatus(ctx context.Context, a *command.App) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if terminal.Is(a.Out) {
			a.Printf("\x1b[H\x1b[2J") // cursor home, clear screen
		}
		if err := showStatus(ctx, a); err != nil && !errors.Is(err, local.ErrNotRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
