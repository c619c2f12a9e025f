package cli

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/view"
)

func planCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change, and change nothing",
		Long: `Plan reads the configuration file again and shows how this machine differs from
it. Exit code 0: it does not; 3: it does. A line with + is new, one with ~ is
changed, one with - goes.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := a.Client().Plan(c.Context())
			if errors.Is(err, local.ErrNotRunning) {
				p, err = daemon.Plan(c.Context(), daemon.Options{Paths: a.Paths(), Version: a.Version, Log: slog.New(slog.DiscardHandler)})
			}
			if err != nil {
				return err
			}
			return showPlan(a, p)
		},
	}
	a.JSONFlag(c, "print the changes as JSON")
	return c
}

// showPlan ends with exit code 3 where there is something to do. That is the answer,
// and no error.
func showPlan(a *command.App, p local.PlanResponse) error {
	a.PrintLines(view.Changes(p.Changes, a.Style()))
	a.PrintLines(view.Ends(p.Ends, 0, a.Style()))
	if len(p.Risks) > 0 {
		a.Printf("%s\n", view.Risks(p.Risks))
	}
	if len(p.Changes) > 0 {
		a.Printf("%s; to do it: gatelodge apply\n", view.Sum(p.Changes))
	}
	answer := struct {
		local.PlanResponse
		Sum view.Counts `json:"sum"`
	}{p, view.Count(p.Changes)}
	if err := a.Answer(answer); err != nil {
		return err
	}
	if len(p.Changes) > 0 {
		return command.Outcome(command.ExitDiffers)
	}
	return nil
}

func applyCommand(a *command.App) *cobra.Command {
	var req local.ApplyRequest
	var yes bool
	c := &cobra.Command{
		Use:     "apply",
		Aliases: []string{"reload"},
		Short:   "Read the configuration file again and carry it out",
		Long: `Apply reads the configuration file again and carries it out. On a gate, a change
that closes ports of the gate's own is on trial first: the kernel reverts it
unless you open a new ssh session, or confirm it from one, before the time is
up. The same goes for a change that was not confirmed before a restart, and so
is not in force. A change that ends what a home publishes lists that, and asks.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			role, err := a.Paths().Role()
			if err != nil {
				return err
			}
			r, err := apply(c.Context(), a, req, yes || role != forward.Gate)
			if err != nil {
				return command.Stopped(c.Context(), err, "the daemon goes on with a change that has begun; what is left of it: gatelodge plan")
			}
			a.PrintLines(view.Changes(r.Changes, a.Style()))
			return errors.Join(a.Answer(r), refusals(r.Report), a.ShowTrial(c.Context(), r.Report.Input))
		},
	}
	a.JSONFlag(c, "print the changes and the report as JSON")
	command.Duration(c.Flags(), &req.ConfirmWithin, "confirm-within", local.ConfirmTime, "time to confirm a change that could lock you out")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask whether what homes publish may end")
	return c
}

// apply carries out what the file says, once its owner has agreed to all that ends
// with that. Others may change it while they think.
func apply(ctx context.Context, a *command.App, req local.ApplyRequest, yes bool) (r local.ApplyResponse, err error) {
	for agreed := []plan.Ending(nil); ; {
		var p local.PlanResponse
		err = a.Editor().Alone(ctx, func() (err error) {
			if !yes {
				p, err = a.Client().Plan(ctx)
			}
			if p.Ends = unagreed(p.Ends, agreed); err == nil && len(p.Ends) == 0 {
				r, err = a.Client().Apply(ctx, req)
			}
			return err
		})
		if err != nil || len(p.Ends) == 0 {
			return r, err
		}
		if !a.AsJSON {
			a.PrintLines(view.Ends(p.Ends, mostEnds, a.Style()))
		}
		if err := a.Agree(ctx, false, "Go on?"); err != nil {
			return r, err
		}
		agreed = append(agreed, p.Ends...)
	}
}

const mostEnds = 10 // are shown with a question

// unagreed are those that nobody has agreed to.
func unagreed(ends, agreed []plan.Ending) []plan.Ending {
	return slices.DeleteFunc(slices.Clone(ends), func(e plan.Ending) bool {
		return slices.ContainsFunc(agreed, func(a plan.Ending) bool { return a.String() == e.String() })
	})
}

// refusals turns forwards that the gate refused into an error.
func refusals(r status.Report) error {
	if r.Role != "home" {
		return nil
	}
	var errs []error
	for _, f := range r.Forwards {
		if f.State == status.Refused {
			errs = append(errs, command.Fail(command.ExitFailed, "", "the gate refuses %s: %s", f.Name, f.Reason))
		}
	}
	return errors.Join(errs...)
}
