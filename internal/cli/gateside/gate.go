package gateside

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/terminal"
	"github.com/gatelodge/gatelodge/internal/view"
	"github.com/gatelodge/gatelodge/internal/words"
)

// Gate returns the command gate, with those of the VPS.
func Gate(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "gate",
		Short: "Make this VPS a gate, and say who may be its home",
		Long: `On the VPS: make it a gate, invite homes, see them, shut one out. A gate is the
machine with the public address; homes join it and publish their services there.

  gatelodge gate init           once
  gatelodge gate invite attic   for each home, which then runs: gatelodge join`,
		Args: command.Commands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(gateInitCommand(a), gateInviteCommand(a), gateHomesCommand(a), gateRevokeCommand(a), gateCloseCommand(a))
	return c
}

// asGate returns an error where this machine is not a gate.
func asGate(a *command.App) error {
	role, err := a.Paths().Role()
	if err != nil {
		return err
	}
	if role != forward.Gate {
		return command.Fail(command.ExitFailed, "run it on the VPS", "this machine is a home, not a gate")
	}
	return nil
}

func gateInviteCommand(a *command.App) *cobra.Command {
	var req local.InviteRequest
	var ports []string
	var qr bool
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "Print a one-time invite for a home",
		Long: `Invite prints a one-time invite for a home of that name. It lets anybody join
once, until it expires: keep it secret.`,
		Example: "  gatelodge gate invite attic --allow-ports 80,443,25565-25570/udp",
		Args:    command.Some(1, 1, "a name for the home: gatelodge gate invite attic"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := asGate(a); err != nil {
				return err
			}
			req.Name = args[0]
			if err := forward.CheckName(req.Name); err != nil {
				return command.Usage(c, err)
			}
			invite, err := makeInvite(c.Context(), a, req, ports)
			if err != nil {
				return command.Stopped(c.Context(), err, "nobody was invited; gate.toml is as it was")
			}
			return errors.Join(showInvite(a, invite, qr), a.Answer(invite))
		},
	}
	command.Duration(c.Flags(), &req.For, "for", 24*time.Hour, "how long the invite can be used")
	command.List(c.Flags(), &ports, "allow-ports", "ports that this home may publish (default: as [policy] in gate.toml says)", words.Ports)
	c.Flags().BoolVar(&qr, "qr", false, "print a QR code of the invite, too")
	a.JSONFlag(c, "print the invite as JSON")
	return c
}

// makeInvite asks the daemon for an invite, and first lets the home have these
// ports, if any are given.
func makeInvite(ctx context.Context, a *command.App, req local.InviteRequest, ports []string) (invite local.InviteResponse, err error) {
	ask := func() (err error) {
		if invite, err = a.Client().Invite(ctx, req); err != nil && ctx.Err() != nil {
			// It may have been made all the same, and nobody has it.
			err = errors.Join(err, withdraw(context.WithoutCancel(ctx), a, req.Name))
		}
		return err
	}
	e := a.Editor()
	err = e.Alone(ctx, func() error {
		if len(ports) == 0 {
			return ask()
		}
		return e.AllowPorts(ctx, req.Name, ports, ask)
	})
	return invite, err
}

// withdraw revokes an invite that was made for nobody. That there is none is as well;
// a home of that name was there before, and stays.
func withdraw(ctx context.Context, a *command.App, name string) error {
	r, err := a.Client().Status(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.Homes, func(h status.Home) bool { return h.Name == name }) {
		return nil
	}
	err = a.Client().Revoke(ctx, name)
	if _, none := errors.AsType[*local.RefusedError](err); none {
		return nil
	}
	return err
}

// showInvite prints the invite alone where a program reads it. It is long: on a line
// of its own it is copied whole, and pasted into the question that join asks.
func showInvite(a *command.App, invite local.InviteResponse, qr bool) error {
	if a.AsJSON || !terminal.Is(a.Out) {
		a.Printf("%s\n", invite.Invite)
		return nil
	}
	a.Printf("At home, once, before %s: run gatelodge join, and paste this invite:\n\n%s\n", invite.Expires.Format("Mon 2 Jan 15:04 MST"), invite.Invite)
	if !qr {
		return nil
	}
	a.Printf("\n")
	return terminal.WriteQR(a.Out, invite.Invite)
}

func gateHomesCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:     "homes",
		Aliases: []string{"list", "ls"},
		Short:   "List the homes of this gate, and open invites",
		Args:    command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := gateReport(c.Context(), a)
			if err != nil {
				return err
			}
			if a.AsJSON {
				return a.Answer(struct {
					Homes   []status.Home   `json:"homes"`
					Invites []status.Invite `json:"invites"`
				}{r.Homes, r.Invites})
			}
			a.PrintLines(view.Homes(r, time.Now(), a.Style()))
			return nil
		},
	}
	a.JSONFlag(c, "print the homes as JSON")
	return c
}

func gateReport(ctx context.Context, a *command.App) (status.Report, error) {
	if err := asGate(a); err != nil {
		return status.Report{}, err
	}
	return a.Client().Status(ctx)
}
