package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/view"
)

func doctorCommand(a *command.App) *cobra.Command {
	var fix, yes bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say why visitors do not arrive, and what to do about it",
		Long: `Doctor follows the way of a visitor hop by hop, with real probes from both ends,
and names the first hop that is broken: what is wrong, where, and the command
that fixes it. It changes nothing by itself. At home it also asks the gate; on the
gate it tries the homes. It takes a few seconds, and exits with 0 if it finds
nothing.

With --fix it offers to let gatelodge's packets through the other firewalls of
this machine, each with its own command, such as "ufw route allow". It shows the
commands and asks first. What was done is listed by status, restored if that
firewall forgets it, and reverted by gatelodge down.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if yes && !fix {
				return command.Usage(c, errors.New("--yes answers what --fix asks, and needs --fix"))
			}
			if err := command.Excludes(c, "fix", "json"); err != nil {
				return err
			}
			r, err := diagnose(c.Context(), a)
			if err != nil {
				return command.Stopped(c.Context(), err, "nothing was changed")
			}
			if fix {
				return fixFirewalls(c.Context(), a, r, yes)
			}
			return showDiagnosis(a, r)
		},
	}
	a.JSONFlag(c, "print findings and evidence as JSON")
	c.Flags().BoolVar(&fix, "fix", false, "let gatelodge's packets through other firewalls of this machine, after asking")
	c.Flags().BoolVar(&yes, "yes", false, "with --fix: do not ask")
	return c
}

func diagnose(ctx context.Context, a *command.App) (local.DoctorResponse, error) {
	if _, err := a.Paths().Role(); err != nil {
		return local.DoctorResponse{}, err
	}
	r, err := a.Client().Doctor(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		r, err = daemon.Examine(ctx, daemon.Options{Paths: a.Paths(), Version: a.Version, Log: slog.New(slog.DiscardHandler)})
	}
	return r, err
}

func showDiagnosis(a *command.App, r local.DoctorResponse) error {
	printDiagnosis(a, r)
	if err := a.Answer(diagnosisOf(r)); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		return command.Outcome(command.ExitFailed) // which is the answer, and no error
	}
	return nil
}

// diagnosis is what doctor says as JSON, with remedies as the file of those that
// were agreed to has them.
type diagnosis struct {
	local.DoctorResponse
	Way      []doctor.Walked `json:"way"`
	Remedies []host.Remedy   `json:"remedies"`
}

func diagnosisOf(r local.DoctorResponse) diagnosis {
	d := diagnosis{DoctorResponse: r, Way: doctor.Way(r.Evidence, r.Findings), Remedies: []host.Remedy{}}
	for _, text := range r.Remedies {
		if remedy, ok := host.ParseRemedy(text); ok {
			d.Remedies = append(d.Remedies, remedy)
		}
	}
	return d
}

// fixFirewalls lets packets through the other firewalls of this machine, if its owner
// agrees, and looks again.
func fixFirewalls(ctx context.Context, a *command.App, r local.DoctorResponse, yes bool) error {
	if len(r.Remedies) == 0 {
		a.Notef("no other firewall of this machine is in the way: --fix has nothing to do")
		return showDiagnosis(a, r)
	}
	printDiagnosis(a, r)
	a.Printf("\nto let gatelodge's packets through the other firewalls of this machine:\n")
	for _, m := range r.Remedies {
		a.Printf("  %s\n", m)
	}
	a.Printf("this is noted in %s; gatelodge down reverts it\n", a.Paths().Remedies())
	if err := a.Agree(ctx, yes, "run these commands?"); err != nil {
		return err
	}
	err := a.Editor().Alone(ctx, func() error {
		// All of what was agreed to, once it has begun.
		done, err := consent.LetThrough(context.WithoutCancel(ctx), a.Paths(), r.Remedies)
		for _, d := range done {
			a.Printf("  done: %s\n", d)
		}
		return err
	})
	if err != nil {
		return err
	}
	after, err := diagnose(ctx, a)
	if err != nil {
		return err
	}
	return showDiagnosis(a, after)
}

func printDiagnosis(a *command.App, r local.DoctorResponse) {
	a.PrintLines(view.Way(doctor.Way(r.Evidence, r.Findings), a.Style()))
	a.Printf("\n")
	for i, f := range r.Findings {
		a.Printf("%d. %s: %s\n", i+1, f.Where, f.Sentence)
		if f.Command != "" {
			a.Printf("   %s %s\n", place(f.On), f.Command)
		}
		if f.Hint != "" {
			a.Printf("   %s\n", f.Hint)
		}
	}
	if n := len(r.Findings); n > 0 {
		a.Printf("%s found\n", command.Counted(n, "problem", "problems"))
	} else {
		a.Printf("nothing is wrong, as far as can be seen from here\n")
	}
	for _, n := range r.Notes {
		if a.AsJSON {
			break // they are part of the answer
		}
		a.Notef("note: %s", n)
	}
}

// place is what stands before a command: where it is to be given.
func place(on string) string {
	if on == "" || on == "here" {
		return "run:"
	}
	return "on " + on + ":"
}
