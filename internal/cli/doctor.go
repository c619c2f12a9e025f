package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say why visitors do not arrive, and what to do about it",
		Long: `Doctor walks the way of a visitor hop by hop, with real probes from both ends,
and names the first that is broken: what is wrong, where, and the command that
mends it. It changes nothing. At home it also asks the gate; on the gate it
tries the homes. It takes a few seconds, and exits with 0 if it finds nothing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print findings and evidence as JSON")
	return c
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	if _, err := a.paths().Role(); err != nil {
		return err
	}
	r, err := a.client().Doctor(ctx)
	if errors.Is(err, daemon.ErrNotRunning) {
		r, err = daemon.Examine(ctx, daemon.Options{Paths: a.paths(), Version: Version, Log: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		return err
	}
	if asJSON {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		a.printDiagnosis(r)
	}
	if n := len(r.Findings); n > 0 {
		return &failure{err: fmt.Errorf("%s wrong", counted(n, "thing is", "things are")), code: exitFailed}
	}
	return nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (a *app) printDiagnosis(r daemon.DoctorResponse) {
	for i, f := range r.Findings {
		a.printf("%d. %s: %s\n", i+1, f.Where, f.Sentence)
		if f.Command != "" {
			a.printf("   %s %s\n", place(f.On), f.Command)
		}
		if f.Hint != "" {
			a.printf("   %s\n", f.Hint)
		}
	}
	if len(r.Findings) == 0 {
		a.printf("nothing is wrong, as far as can be seen from here\n")
	}
	for _, n := range r.Notes {
		a.notef("note: %s", n)
	}
}

// place is what stands before a command: where it is to be given.
func place(on string) string {
	if on == "" || on == "here" {
		return "run:"
	}
	return "on " + on + ":"
}
