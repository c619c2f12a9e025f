package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func (a *app) joinCommand() *cobra.Command {
	var noStart bool
	c := &cobra.Command{
		Use:   "join INVITE",
		Short: "Make this machine a home of the gate that made the invite",
		Long: `Join redeems an invite, writes /etc/gatelodge/home.toml and starts the home.
With "-" the invite is read from standard input, where no other user of this
machine can see it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.inviteText(args)
			if err != nil {
				return err
			}
			return a.join(c.Context(), text, noStart)
		},
	}
	c.Flags().BoolVar(&noStart, "no-start", false, "join, and do not start")
	return c
}

// inviteText also takes an invite that a terminal has broken into words.
func (a *app) inviteText(args []string) (string, error) {
	if len(args) == 1 && args[0] == "-" {
		b, err := io.ReadAll(io.LimitReader(a.in, 4096))
		return string(b), err
	}
	return strings.Join(args, " "), nil
}

func (a *app) join(ctx context.Context, text string, noStart bool) error {
	invite, err := key.ParseInvite(text)
	if err != nil {
		return fail(exitUsage, "copy the invite again, or make a new one on the gate: gatelodge gate invite NAME", "%w", err)
	}
	role, err := a.paths().Role()
	if err == nil && role == plan.Gate {
		return fail(exitFailed, "", "this machine is a gate; a home is another machine")
	}
	hadConfig := err == nil
	if err != nil && !errors.Is(err, daemon.ErrNoRole) {
		return err
	}
	o, err := a.options(ctx)
	if err != nil {
		return err
	}
	joined, err := daemon.Join(ctx, o, invite)
	if err != nil {
		return a.explainJoin(err)
	}
	if !hadConfig {
		if err := a.writeConfig(plan.Home, config.NewHomeFile()); err != nil {
			return err
		}
	}
	a.printf("joined as %s\n", joined.Name)
	if noStart {
		a.printf("start it with: gatelodge up\n")
		return nil
	}
	if err := errors.Join(a.enable(ctx), a.up(ctx)); err != nil {
		return err
	}
	a.printf("next: gatelodge expose 443\n")
	return nil
}

func (a *app) explainJoin(err error) error {
	if u, ok := errors.AsType[*daemon.UnreachableError](err); ok {
		return fail(exitUnreachable, u.Hint, "%w", err)
	}
	return err
}
