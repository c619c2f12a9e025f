package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

func planCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change, and change nothing",
		Long: `Plan reads the configuration file again and shows how this machine differs from
it. Exit code 0: it does not; 3: it does.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := a.client().Plan(c.Context())
			if errors.Is(err, local.ErrNotRunning) {
				p, err = daemon.Plan(c.Context(), daemon.Options{Paths: a.paths(), Version: Version, Log: a.logger()})
			}
			if err != nil {
				return err
			}
			return showPlan(a, p)
		},
	}
	a.jsonFlag(c, "print the changes as JSON")
	return c
}

func showPlan(a *app, p local.PlanResponse) error {
	printChanges(a, p.Changes)
	if len(p.Risks) > 0 {
		a.printf("on trial until it is confirmed, because it closes %s\n", strings.Join(p.Risks, ", "))
	}
	if err := a.answer(p); err != nil {
		return err
	}
	if len(p.Changes) > 0 {
		return fail(exitDiffers, "gatelodge apply", "the machine differs from the file: %s", counted(len(p.Changes), "change", "changes"))
	}
	return nil
}

func printChanges(a *app, changes []plan.Change) {
	if len(changes) == 0 {
		a.printf("nothing to change\n")
	}
	for _, c := range changes {
		a.printf("  %s\n", c)
	}
}

func applyCommand(a *app) *cobra.Command {
	var req local.ApplyRequest
	c := &cobra.Command{
		Use:   "apply",
		Short: "Read the configuration file again and carry it out",
		Long: `Apply reads the configuration file again and carries it out. On a gate, a change
that closes ports of the gate's own is on trial first: the kernel reverts it
unless you open a new ssh session, or confirm it from one, before the time is
up. The same goes for a change that was not confirmed before a restart, and so
is not in force.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var r local.ApplyResponse
			err := a.editor().Alone(c.Context(), func() (err error) {
				r, err = a.client().Apply(c.Context(), req)
				return err
			})
			if err != nil {
				return err
			}
			printChanges(a, r.Changes)
			return errors.Join(a.answer(r), refusals(r.Report), showTrial(c.Context(), a, r.Report.Input))
		},
	}
	a.jsonFlag(c, "print the changes and the report as JSON")
	c.Flags().DurationVar(&req.ConfirmWithin, "confirm-within", local.ConfirmTime, "time to confirm a change that could lock you out")
	return c
}

// refusals turns forwards that the gate refused into an error.
func refusals(r status.Report) error {
	if r.Role != "home" {
		return nil
	}
	var errs []error
	for _, f := range r.Forwards {
		if f.State == status.Refused {
			errs = append(errs, fail(exitFailed, "", "the gate refuses %s: %s", f.Name, f.Reason))
		}
	}
	return errors.Join(errs...)
}
