package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/status"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the tunnel, the forwards and what passed through them",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(c.Context())
			}
			return a.status(c.Context(), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every two seconds")
	c.MarkFlagsMutuallyExclusive("json", "watch")
	return c
}

// status also prints a report when no daemon answers: that it does not is
// what the owner wants to know.
func (a *app) status(ctx context.Context, asJSON bool) error {
	role, err := a.paths().Role()
	if err != nil {
		return err
	}
	report, err := a.client().Status(ctx)
	notRunning := errors.Is(err, daemon.ErrNotRunning)
	if err != nil && !notRunning {
		return err
	}
	if notRunning {
		report = status.Report{Role: string(role), Version: Version}
	}
	if asJSON {
		if printed := a.printJSON(report); printed != nil {
			return printed
		}
		return err
	}
	if printed := report.WriteText(a.out, time.Now()); printed != nil {
		return printed
	}
	return err
}

// watchInterval is how often --watch asks again.
const watchInterval = 2 * time.Second

func (a *app) watchStatus(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if onTerminal(a.out) {
			a.printf("\x1b[H\x1b[2J") // cursor home, clear screen
		}
		if err := a.status(ctx, false); err != nil && !errors.Is(err, daemon.ErrNotRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
