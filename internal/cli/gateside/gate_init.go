package gateside

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
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

func gateInitCommand(a *command.App) *cobra.Command {
	var o gateInit
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this machine a gate",
		Long: `Init looks at this machine, shows what it found and what it will do, asks,
writes /etc/gatelodge/gate.toml and starts the gate. The ports that sshd
listens on stay open, and can never be forwarded.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return initGate(c.Context(), a, o) },
	}
	a.JSONFlag(c, "print what was set up as JSON; needs --yes")
	f := c.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.noStart, "no-start", false, "write gate.toml, and do not start")
	command.List(f, &o.endpoints, "endpoint", "name or address at which homes reach this machine (default: its public addresses)", nil)
	command.Text(f, &o.prefix4, "prefix", "", "IPv4 prefix of the tunnel (default: one that is free here)")
	command.Port(f, &o.listenPort, "listen-port", "", 55107, "UDP port of WireGuard")
	command.Text(f, &o.input, "input", "protect", `"protect" filters what arrives for this machine itself, "leave" does not`)
	return c
}

// initGate touches nothing before the owner has agreed.
func initGate(ctx context.Context, a *command.App, o gateInit) error {
	if err := checkFresh(a); err != nil {
		return err
	}
	if err := host.MayManage(); err != nil {
		return err
	}
	found, err := host.Look(ctx, a.Root, host.SSHConnection())
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
	if err := a.Agree(ctx, o.yes, fmt.Sprintf("Write %s and start the gate?", a.Paths().ConfigFile(forward.Gate))); err != nil {
		return err
	}
	// What the look has promised is tried, now that the owner has agreed.
	if err := host.CanRun(ctx); err != nil {
		return err
	}
	if err := a.Editor().Create(forward.Gate, config.NewGateFile(file)); err != nil {
		return err
	}
	a.Printf("wrote %s\n", a.Paths().ConfigFile(forward.Gate))
	return answerInit(ctx, a, o, file)
}

// answerInit starts the gate, unless told not to, and says what it is.
func answerInit(ctx context.Context, a *command.App, o gateInit, file config.GateDefaults) error {
	if o.noStart {
		a.Printf("start it with: gatelodge up\n")
	} else {
		if err := a.Instance().Enable(ctx); err != nil {
			return err
		}
		if _, err := a.Up(ctx); err != nil {
			return command.Stopped(ctx, err, "this machine is a gate; gatelodge status says whether it runs, gatelodge up starts it")
		}
		a.Printf("next: gatelodge gate invite NAME\n")
	}
	return a.Answer(struct {
		Config    string       `json:"config"`
		Endpoints []string     `json:"endpoints"`
		Prefix4   netip.Prefix `json:"prefix4"`
		Started   bool         `json:"started"`
	}{a.Paths().ConfigFile(forward.Gate), file.Endpoints, file.Prefix4, !o.noStart})
}

// checkFresh refuses to touch a machine that has a role already.
func checkFresh(a *command.App) error {
	role, err := a.Paths().Role()
	switch {
	case errors.Is(err, layout.ErrNoRole):
		return nil
	case err != nil:
		return err
	}
	return command.Fail(command.ExitFailed, "gatelodge status", "this machine is a %s already: %s stays as it is", role, a.Paths().ConfigFile(role))
}

func showFound(a *command.App, found host.Found, file config.GateDefaults, verdict survey.Verdict) {
	a.Printf("This machine:\n")
	a.Printf("  public       %s\n", found.PublicText())
	a.Printf("  ssh          %s\n", found.Survey.SSHText())
	a.Printf("  WireGuard    %s\n", found.Survey.DeviceText())
	a.Printf("  nftables     %s\n", found.Survey.NFT)
	a.Printf("As a gate:\n")
	a.Printf("  homes dial   %s (UDP)\n", strings.Join(file.Endpoints, ", "))
	a.Printf("  tunnel       %s", file.Prefix4)
	if file.Prefix6.IsValid() {
		a.Printf(", %s", file.Prefix6)
	}
	a.Printf("\n  firewall     %s\n", survey.InputText(file.Input == "leave", "this machine"))
	a.Printf("  kernel       %s\n", found.Survey.KernelText())
	for _, n := range verdict.Notes {
		a.Printf("  note         %s\n", n)
	}
}
