package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/onboard"
	"github.com/gatelodge/gatelodge/internal/survey"
)

// initGate is what `gate init` can be told.
type gateInit struct {
	yes        bool
	noStart    bool
	endpoints  []string
	prefix4    string
	listenPort uint16
	input      string
}

func gateInitCommand(a *app) *cobra.Command {
	var o gateInit
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this machine a gate",
		Long: `Init looks at this machine, shows what it found and what it will do, asks,
writes /etc/gatelodge/gate.toml and starts the gate. The ports that sshd
listens on stay open, and can never be forwarded.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return initGate(c.Context(), a, o) },
	}
	a.jsonFlag(c, "print what was set up as JSON; needs --yes")
	f := c.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.noStart, "no-start", false, "write gate.toml, and do not start")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "name or address at which homes reach this machine (default: its public addresses)")
	f.StringVar(&o.prefix4, "prefix", "", "IPv4 prefix of the tunnel (default: one that is free here)")
	f.Uint16Var(&o.listenPort, "listen-port", 55107, "UDP port of WireGuard")
	f.StringVar(&o.input, "input", "protect", `"protect" filters what arrives for this machine itself, "leave" does not`)
	return c
}

// initGate touches nothing before the owner has agreed.
func initGate(ctx context.Context, a *app, o gateInit) error {
	if err := checkFresh(a); err != nil {
		return err
	}
	if err := host.MayManage(); err != nil {
		return err
	}
	found, err := host.Look(ctx, a.root, host.SSHConnection())
	if err != nil {
		return err
	}
	verdict := survey.Judge(found.Survey, survey.Wish{Here: true, Port: o.listenPort, Leave: o.input == "leave"})
	if err := onboard.Refused("this machine cannot be a gate: ", verdict.Refusals); err != nil {
		return err
	}
	file, err := onboard.GateFile(found, onboard.GateWish{Endpoints: o.endpoints, Prefix4: o.prefix4, ListenPort: o.listenPort, Input: o.input})
	if err != nil {
		return err
	}
	showFound(a, found, file, verdict)
	if err := a.agree(ctx, o.yes, fmt.Sprintf("Write %s and start the gate?", a.paths().ConfigFile(forward.Gate))); err != nil {
		return err
	}
	// What the look has promised is tried, now that the owner has agreed.
	if err := host.CanRun(ctx); err != nil {
		return err
	}
	if err := a.editor().Create(forward.Gate, config.NewGateFile(file)); err != nil {
		return err
	}
	a.printf("wrote %s\n", a.paths().ConfigFile(forward.Gate))
	return answerInit(ctx, a, o, file)
}

// answerInit starts the gate, unless told not to, and says what it is.
func answerInit(ctx context.Context, a *app, o gateInit, file config.GateDefaults) error {
	if o.noStart {
		a.printf("start it with: gatelodge up\n")
	} else {
		if err := a.instance().Enable(ctx); err != nil {
			return err
		}
		if _, err := up(ctx, a); err != nil {
			return err
		}
		a.printf("next: gatelodge gate invite NAME\n")
	}
	return a.answer(struct {
		Config    string       `json:"config"`
		Endpoints []string     `json:"endpoints"`
		Prefix4   netip.Prefix `json:"prefix4"`
		Started   bool         `json:"started"`
	}{a.paths().ConfigFile(forward.Gate), file.Endpoints, file.Prefix4, !o.noStart})
}

// checkFresh refuses to touch a machine that has a role already.
func checkFresh(a *app) error {
	role, err := a.paths().Role()
	switch {
	case errors.Is(err, layout.ErrNoRole):
		return nil
	case err != nil:
		return err
	}
	return fail(exitFailed, "gatelodge status", "this machine is a %s already: %s stays as it is", role, a.paths().ConfigFile(role))
}

func showFound(a *app, found host.Found, file config.GateDefaults, verdict survey.Verdict) {
	a.printf("This machine:\n")
	a.printf("  public       %s\n", found.PublicText())
	a.printf("  ssh          %s\n", found.Survey.SSHText())
	a.printf("  WireGuard    %s\n", found.Survey.DeviceText())
	a.printf("  nftables     %s\n", found.Survey.NFT)
	a.printf("As a gate:\n")
	a.printf("  homes dial   %s (UDP)\n", strings.Join(file.Endpoints, ", "))
	a.printf("  tunnel       %s", file.Prefix4)
	if file.Prefix6.IsValid() {
		a.printf(", %s", file.Prefix6)
	}
	a.printf("\n  firewall     %s\n", survey.InputText(file.Input == "leave", "this machine"))
	a.printf("  kernel       %s\n", found.Survey.KernelText())
	for _, n := range verdict.Notes {
		a.printf("  note         %s\n", n)
	}
}
