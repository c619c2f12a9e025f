package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/status"
)

func (a *app) planCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change, and change nothing",
		Long: `Plan reads the configuration file again and shows what differs from it on this
machine. Exit code 0: nothing; 3: something.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := a.client().Plan(c.Context())
			if errors.Is(err, daemon.ErrNotRunning) {
				p, err = daemon.Plan(c.Context(), daemon.Options{Paths: a.paths(), Version: Version, Log: a.logger()})
			}
			if err != nil {
				return err
			}
			return a.showPlan(p, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the changes as JSON")
	return c
}

func (a *app) showPlan(p daemon.PlanResponse, asJSON bool) error {
	if asJSON {
		if err := a.printJSON(p); err != nil {
			return err
		}
	} else {
		a.printChanges(p.Changes)
		if len(p.Risks) > 0 {
			a.printf("on trial until it is confirmed, because it closes %s\n", strings.Join(p.Risks, ", "))
		}
	}
	if len(p.Changes) > 0 {
		return fail(exitDiffers, "gatelodge apply", "the machine is not as wanted: %d changes", len(p.Changes))
	}
	return nil
}

func (a *app) printChanges(changes []string) {
	if len(changes) == 0 {
		a.printf("nothing to change\n")
	}
	for _, c := range changes {
		a.printf("  %s\n", c)
	}
}

func (a *app) applyCommand() *cobra.Command {
	var asJSON bool
	var req daemon.ApplyRequest
	c := &cobra.Command{
		Use:   "apply",
		Short: "Read the configuration file again and carry it out",
		Long: `Apply reads the configuration file again and carries it out. On a gate, a change
that closes ports of the gate's own is on trial first: the kernel takes it back
unless you open a new ssh session, or confirm it from one, before the time is
up. The same goes for one that is not confirmed yet and that a restart has left
out of force.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var r daemon.ApplyResponse
			err := a.alone(c.Context(), func() (err error) {
				r, err = a.client().Apply(c.Context(), req)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return errors.Join(a.printJSON(r), refusals(r.Report))
			}
			a.printChanges(r.Changes)
			return errors.Join(refusals(r.Report), a.showTrial(c.Context(), r.Report.Input))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the changes and the report as JSON")
	c.Flags().DurationVar(&req.ConfirmWithin, "confirm-within", daemon.ConfirmTime, "time to confirm a change that could cut you off")
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

func findForward(r status.Report, name string) (status.Forward, bool) {
	i := slices.IndexFunc(r.Forwards, func(f status.Forward) bool { return f.Name == name })
	if i < 0 {
		return status.Forward{}, false
	}
	return r.Forwards[i], true
}
