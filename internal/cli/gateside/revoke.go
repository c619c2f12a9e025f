package gateside

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/words"
)

func gateRevokeCommand(a *command.App) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Shut a home out, or revoke an invite",
		Long: `Revoke shows what ends, asks, and shuts a home out at once: its key no longer
opens the tunnel, its forwards and the connections that pass through them end.
It cannot be undone: the home needs a new invite. An invite that has not been used
becomes void, which is not asked about.`,
		Args:              command.Some(1, 1, "the name of a home or of an invite: gatelodge gate homes lists them"),
		ValidArgsFunction: command.Complete(func(ctx context.Context) []string { return revocable(ctx, a) }),
		RunE:              func(c *cobra.Command, args []string) error { return revoke(c.Context(), a, args[0], yes) },
	}
	a.JSONFlag(c, "print who is revoked as JSON; needs --yes")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func revoke(ctx context.Context, a *command.App, name string, yes bool) error {
	r, err := gateReport(ctx, a)
	if err != nil {
		return err
	}
	ends, err := endsWith(r, name)
	if err != nil {
		return err
	}
	if len(ends) > 0 {
		if !yes {
			a.PrintLines(ends)
		}
		if err := a.Agree(ctx, yes, "Go on?"); err != nil {
			return err
		}
	}
	if err := a.Client().Revoke(ctx, name); err != nil {
		return command.Stopped(ctx, err, "a revocation that has begun is carried out; to see it: gatelodge gate homes")
	}
	a.Printf("%s is revoked\n", name)
	return a.Answer(struct {
		Revoked string `json:"revoked"`
	}{name})
}

// revocable are the names of homes and of open invites.
func revocable(ctx context.Context, a *command.App) []string {
	r, err := gateReport(ctx, a)
	if err != nil {
		return nil
	}
	var names []string
	for _, h := range r.Homes {
		names = append(names, h.Name)
	}
	for _, i := range r.Invites {
		names = append(names, i.Name)
	}
	return names
}

// endsWith lists what ends with a home; nothing for an open invite.
func endsWith(r status.Report, name string) ([]string, error) {
	var names []string
	for _, i := range r.Invites {
		if i.Name == name {
			return nil, nil
		}
		names = append(names, i.Name)
	}
	for _, h := range r.Homes {
		if h.Name == name {
			return ending(r, h), nil
		}
		names = append(names, h.Name)
	}
	hint := "gatelodge gate homes"
	if near := words.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return nil, command.Fail(command.ExitFailed, hint, "there is no home or open invite %q", name)
}

// ending says what a home has that ends with it.
func ending(r status.Report, h status.Home) []string {
	state := "connected"
	if !h.Connected {
		state = "silent now"
	}
	lines := []string{fmt.Sprintf("home %q (%s): its key is forgotten, and this ends at once, with all connections:", h.Name, state)}
	published := slices.DeleteFunc(slices.Clone(r.Forwards), func(f status.Forward) bool { return f.Home != h.Name || f.State != status.Granted })
	const most = 10
	for i, f := range published {
		if i == most {
			lines = append(lines, fmt.Sprintf("  and %d more", len(published)-most))
			break
		}
		lines = append(lines, fmt.Sprintf("  %s  %s", f.Name, strings.Join(f.Ports, " ")))
	}
	if len(published) == 0 {
		lines[0] = fmt.Sprintf("home %q (%s): its key is forgotten; it publishes nothing", h.Name, state)
	}
	return lines
}
