package homeside

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

// Leave returns the command of that name.
func Leave(a *command.App) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "leave",
		Short: "Have this machine be no home any longer",
		Long: `Leave shows what ends, asks, has the gate publish nothing of this home any longer,
and undoes what the daemon set up here. This home's key is removed, so that only a new
invite makes it a home again. Its home.toml is kept beside its place, as
home.toml.kept: the next join or init begins with it.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return leave(c.Context(), a, yes) },
	}
	a.JSONFlag(c, "print what was done as JSON; needs --yes")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// left is the answer of leave.
type left struct {
	Kept string `json:"kept"` // where home.toml is now
	// Untold says why the gate does not know; "" if it does.
	Untold string `json:"untold,omitempty"`
}

// leave goes through with it once the owner has agreed, no matter who interrupts it: what is
// done by half can be finished by the same command.
func leave(ctx context.Context, a *command.App, yes bool) error {
	role, err := a.Paths().Role()
	if err != nil {
		return err
	}
	if role != forward.Home {
		return command.Fail(command.ExitFailed, "gatelodge gate close", "this machine is a gate, not a home")
	}
	if !yes {
		a.PrintLines(endsHere(ctx, a))
	}
	if err := a.Agree(ctx, yes, "Leave the gate?"); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	var answer left
	err = a.Editor().Alone(ctx, func() error {
		if err := a.Client().Leave(ctx); err != nil {
			answer.Untold = whyUntold(err)
		}
		if _, err := a.Down(ctx); err != nil {
			return err
		}
		if err := a.Instance().Disable(ctx); err != nil {
			return err
		}
		return a.Editor().GiveUp(forward.Home)
	})
	if err != nil {
		return fmt.Errorf("%w; to finish it: gatelodge leave", err)
	}
	answer.Kept = a.Paths().KeptFile(forward.Home)
	a.Printf("this machine is no home any longer; home.toml is kept as %s\n", answer.Kept)
	if answer.Untold != "" {
		a.Notef("the gate does not know of it (%s): there, run gatelodge gate revoke", answer.Untold)
	} else {
		a.Printf("the gate publishes nothing of it; to remove it there, too: gatelodge gate revoke\n")
	}
	return a.Answer(answer)
}

func whyUntold(err error) string {
	if errors.Is(err, local.ErrNotRunning) {
		return "no daemon runs here"
	}
	return err.Error()
}

// endsHere lists what ends when this home leaves. Without a daemon that is not known.
func endsHere(ctx context.Context, a *command.App) []string {
	lines := []string{"this machine's key is removed: only a new invite makes it a home again; home.toml is kept"}
	r, err := a.Client().Status(ctx)
	if err != nil {
		return lines
	}
	for _, f := range r.Forwards {
		if f.State == status.Granted {
			lines = append(lines, fmt.Sprintf("  no longer published: %s %v", f.Name, f.Ports))
		}
	}
	return lines
}
