package gateside

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
)

func gateCloseCommand(a *command.App) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "close",
		Short: "Have this machine be no gate any longer",
		Long: `Close shows which homes and forwards end, asks, and undoes what the daemon set up
here. The gate's key and what it knows of its homes are removed: each needs a new
invite, of another gate or of this one after gatelodge gate init. Its gate.toml is kept
beside its place, as gate.toml.kept.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return closeGate(c.Context(), a, yes) },
	}
	a.JSONFlag(c, "print what was done as JSON; needs --yes")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// closeGate goes through with it once the owner has agreed, no matter who interrupts it:
// what is done by half can be finished by the same command.
func closeGate(ctx context.Context, a *command.App, yes bool) error {
	if err := asGate(a); err != nil {
		return err
	}
	lines, err := endsWithGate(ctx, a)
	if err != nil {
		return err
	}
	if !yes {
		a.PrintLines(lines)
	}
	if err := a.Agree(ctx, yes, "Close this gate?"); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	err = a.Editor().Alone(ctx, func() error {
		if _, err := a.Down(ctx); err != nil {
			return err
		}
		if err := a.Instance().Disable(ctx); err != nil {
			return err
		}
		return a.Editor().GiveUp(forward.Gate)
	})
	if err != nil {
		return fmt.Errorf("%w; to finish it: gatelodge gate close", err)
	}
	kept := a.Paths().KeptFile(forward.Gate)
	a.Printf("this machine is no gate any longer; gate.toml is kept as %s\n", kept)
	return a.Answer(struct {
		Kept string `json:"kept"`
	}{kept})
}

// endsWithGate lists what ends with the whole gate, as far as a daemon knows.
func endsWithGate(ctx context.Context, a *command.App) ([]string, error) {
	lines := []string{"the gate's key is removed: its homes have no gate then, and each needs a new invite; gate.toml is kept"}
	r, err := a.Client().Status(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		return append(lines, "  which homes these are is not known while no daemon runs"), nil
	}
	if err != nil {
		return nil, err
	}
	for _, h := range r.Homes {
		lines = append(lines, ending(r, h)...)
	}
	return append(lines, closes(r)...), nil
}

// closes reminds of what the firewall of a gate kept shut.
func closes(r status.Report) []string {
	if r.Input == nil || r.Input.State != status.Kept {
		return nil
	}
	return []string{"the firewall of the gate is removed as well: ports that it kept shut are open again"}
}
