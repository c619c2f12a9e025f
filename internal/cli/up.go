package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
)

func upCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the daemon in the background",
		Long: `Up starts the service gatelodge, where systemd has it, and waits until it is
ready. Elsewhere it starts the daemon itself, which then runs only until the
next boot.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := up(c.Context(), a)
			if err != nil {
				return err
			}
			return a.answer(r)
		},
	}
	a.jsonFlag(c, "print the report as JSON")
	return c
}

// up starts the daemon, and shows what has come of it.
func up(ctx context.Context, a *app) (status.Report, error) {
	r, ran, err := a.instance().Up(ctx)
	switch {
	case err != nil:
		return r, err
	case ran:
		a.printf("already running\n")
		return r, nil
	case !r.Works():
		noteTrouble(a, r)
		return r, nil
	case r.Input == nil || r.Input.State != status.Unconfirmed:
		return r, a.printReport(r)
	}
	return tryInput(ctx, a)
}

func (a *app) printReport(r status.Report) error {
	if a.asJSON {
		return nil
	}
	return r.WriteText(a.out, time.Now())
}

// noteTrouble says why a daemon that runs has no tunnel yet, as far as it knows.
func noteTrouble(a *app, r status.Report) {
	for _, problem := range r.Problems {
		a.notef("%s", problem)
	}
	if len(r.Problems) == 0 && r.Role == string(forward.Home) {
		a.notef("the gate has not answered yet")
	}
	a.notef("running, but without a tunnel so far; it keeps trying: gatelodge status")
}

// tryInput puts an input policy on trial that a start alone does not bring into
// force: nobody has confirmed it yet.
func tryInput(ctx context.Context, a *app) (status.Report, error) {
	applied, err := a.client().Apply(ctx, local.ApplyRequest{})
	if err != nil {
		return applied.Report, err
	}
	if err := a.printReport(applied.Report); err != nil {
		return applied.Report, err
	}
	return applied.Report, showTrial(ctx, a, applied.Report.Input)
}
