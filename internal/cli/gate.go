package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
)

func (a *app) gateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "gate",
		Short: "Commands for the VPS",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.gateInitCommand(), a.gateInviteCommand(), a.gateHomesCommand(), a.gateRevokeCommand())
	return c
}

// asGate returns an error where this machine is not a gate.
func (a *app) asGate() error {
	role, err := a.paths().Role()
	if err != nil {
		return err
	}
	if role != plan.Gate {
		return fail(exitFailed, "run it on the VPS", "this machine is a home, not a gate")
	}
	return nil
}

func (a *app) gateInviteCommand() *cobra.Command {
	var req daemon.InviteRequest
	var ports []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "Print a one-time invite for a home",
		Long: `Invite prints a one-time invite for a home of that name, and a QR code on a
terminal. Whoever has it can join once, until it expires: it is a secret.`,
		Example: "  gatelodge gate invite attic --allow-ports 80,443,25565-25570/udp",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.asGate(); err != nil {
				return err
			}
			req.Name = args[0]
			var invite daemon.InviteResponse
			err := a.alone(c.Context(), func() (err error) {
				invite, err = a.invite(c.Context(), req, ports)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(invite)
			}
			return a.showInvite(invite)
		},
	}
	c.Flags().DurationVar(&req.For, "for", 24*time.Hour, "how long the invite can be used")
	c.Flags().StringSliceVar(&ports, "allow-ports", nil, "ports that this home may publish (default: as [policy] in gate.toml says)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the invite as JSON")
	return c
}

// invite asks the daemon for an invite, and first lets the home have these
// ports, if any are given.
func (a *app) invite(ctx context.Context, req daemon.InviteRequest, ports []string) (daemon.InviteResponse, error) {
	if len(ports) == 0 {
		return a.client().Invite(ctx, req)
	}
	before, err := a.allowPorts(req.Name, ports)
	if err != nil {
		return daemon.InviteResponse{}, err
	}
	var invite daemon.InviteResponse
	if _, err = a.client().Apply(ctx, daemon.ApplyRequest{LeaveInput: true}); err == nil {
		invite, err = a.client().Invite(ctx, req)
	}
	if err != nil {
		return daemon.InviteResponse{}, errors.Join(err, a.restoreGate(ctx, before))
	}
	return invite, nil
}

// allowPorts puts the ports of one home into gate.toml, and returns the file as
// it was.
func (a *app) allowPorts(home string, ports []string) (before []byte, err error) {
	file := a.paths().ConfigFile(plan.Gate)
	if before, err = os.ReadFile(file); err != nil {
		return nil, err
	}
	after, err := config.SetHomePolicy(before, home, ports)
	if err != nil {
		return nil, err
	}
	if _, err := config.ParseGate(file, after); err != nil {
		return nil, fmt.Errorf("nothing was changed, because %s would no longer be valid:\n%w", file, err)
	}
	return before, store.ReplaceFile(file, after)
}

// restoreGate takes a change of gate.toml back.
func (a *app) restoreGate(ctx context.Context, before []byte) error {
	if err := store.ReplaceFile(a.paths().ConfigFile(plan.Gate), before); err != nil {
		return fmt.Errorf("gate.toml could not be put back as it was: %w", err)
	}
	if _, err := a.client().Apply(ctx, daemon.ApplyRequest{LeaveInput: true}); err != nil && !errors.Is(err, daemon.ErrNotRunning) {
		return fmt.Errorf("gate.toml is as it was, but could not be applied again: %w", err)
	}
	return nil
}

// showInvite prints the invite alone where a program reads it.
func (a *app) showInvite(invite daemon.InviteResponse) error {
	if !onTerminal(a.out) {
		a.printf("%s\n", invite.Invite)
		return nil
	}
	a.printf("At home, once, before %s:\n\n  gatelodge join %s\n\n", invite.Expires.Format("Mon 2 Jan 15:04"), invite.Invite)
	return printQR(a.out, invite.Invite)
}

// printQR draws with half blocks, dark on light whatever the terminal's
// colours are, within the quiet zone of four modules that the standard asks
// for (ISO/IEC 18004).
func printQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return fmt.Errorf("cannot draw the QR code: %w", err)
	}
	const quiet = 4
	blocks := map[[2]bool]string{{false, false}: "█", {false, true}: "▀", {true, false}: "▄", {true, true}: " "}
	for y := -quiet; y < code.Size+quiet; y += 2 {
		line := ""
		for x := -quiet; x < code.Size+quiet; x++ {
			line += blocks[[2]bool{code.Black(x, y), code.Black(x, y+1)}]
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) gateHomesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "homes",
		Short: "List the homes of this gate, and open invites",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.gateReport(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(struct {
					Homes   []status.Home   `json:"homes"`
					Invites []status.Invite `json:"invites"`
				}{r.Homes, r.Invites})
			}
			return r.WriteHomes(a.out, time.Now())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the homes as JSON")
	return c
}

func (a *app) gateReport(ctx context.Context) (status.Report, error) {
	if err := a.asGate(); err != nil {
		return status.Report{}, err
	}
	return a.client().Status(ctx)
}

func (a *app) gateRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Shut a home out, or take back an invite",
		Long: `Revoke shuts a home out at once: its key no longer opens the tunnel, its
forwards and the connections that pass through them end. An invite that was
not used yet is void.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.asGate(); err != nil {
				return err
			}
			if err := a.client().Revoke(c.Context(), args[0]); err != nil {
				return err
			}
			a.printf("%s is revoked\n", args[0])
			return nil
		},
	}
}
