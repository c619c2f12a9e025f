package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/onboard"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

func initCommand(a *app) *cobra.Command {
	var o onboard.Options
	var yes bool
	c := &cobra.Command{
		Use:   "init [USER@]VPS",
		Short: "Make a VPS a gate, and this machine its home, over ssh",
		Long: `Init runs at home. It looks at the VPS over ssh and at this machine, shows what
it found and what it will do, asks, installs gatelodge on the VPS, makes it a
gate, joins this machine to it, and proves that a visitor gets through. You
can run it again; if it fails half-way, it undoes what it has made.

It uses the ssh of this machine, with your configuration, keys, agent, jump
hosts and known hosts. Start it as yourself: it becomes root with sudo. The user
on the VPS is root, or may become root with sudo.`,
		Example: "  gatelodge init root@198.51.100.1\n  gatelodge init ssh://debian@vps.example:2222 --name attic",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Destination = args[0]
			return setUp(c.Context(), a, o, yes)
		},
	}
	f := c.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.Uint16VarP(&o.Port, "port", "p", 0, "port of the VPS's ssh server (default: as ssh decides)")
	f.StringArrayVar(&o.SSHSettings, "ssh-option", nil, "a setting for ssh, as after its -o; can be repeated")
	f.StringVar(&o.SSHAgent, "ssh-agent", "", "socket of the ssh agent (default: the one in SSH_AUTH_SOCK)")
	f.StringVar(&o.Name, "name", "", "name of this home at the gate (default: this machine's host name)")
	f.StringSliceVar(&o.Endpoints, "endpoint", nil, "name or address at which this home reaches the VPS (default: its public addresses)")
	f.Uint16Var(&o.ListenPort, "listen-port", 55107, "UDP port of WireGuard on the VPS")
	f.StringVar(&o.Input, "input", "protect", `"protect" filters what arrives for the VPS itself, "leave" does not`)
	f.StringVar(&o.Binary, "binary", "", "the program to install on the VPS (default: this one, or the packaged one for its processor)")
	f.BoolVar(&o.WithoutService, "without-service", false, "continue without systemd, although nothing then starts gatelodge after a reboot")
	f.StringVar(&o.RemoteRoot, "remote-root", "/", "the --root of the gate on the VPS")
	if err := f.MarkHidden("remote-root"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return c
}

// setUp carries init out.
func setUp(ctx context.Context, a *app, o onboard.Options, yes bool) error {
	begin := time.Now()
	name, err := homeName(o.Name)
	if err != nil {
		return err
	}
	o.Name = name
	if err := checkInit(a, o, yes); err != nil {
		return err
	}
	quiet := &app{root: a.root, in: a.in, out: io.Discard, errOut: io.Discard}
	here := onboard.Here{
		Instance: a.instance(), Version: Version, Editor: a.editor(), Terminal: a.errOut,
		Look: func(ctx context.Context) (host.Found, error) { return host.Look(ctx, a.root, "") },
		Join: func(ctx context.Context, invite key.Invite) (string, error) { return becomeHome(ctx, a, invite) },
		Down: func(ctx context.Context) error { _, err := down(ctx, quiet); return err },
	}
	if err := onboard.Run(ctx, o, here, &progress{app: a, yes: yes, destination: o.Destination}); err != nil {
		return err
	}
	a.printf("done in %.0f s\nnext: gatelodge expose 443\n", time.Since(begin).Seconds())
	return nil
}

// homeName makes a name for this home from its host name, if none is given.
func homeName(given string) (string, error) {
	if given != "" {
		if err := forward.CheckName(given); err != nil {
			return "", fail(exitUsage, "--name attic", "%w", err)
		}
		return given, nil
	}
	machine, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine has no host name; add --name NAME: %w", err)
	}
	return onboard.NameFrom(machine), nil
}

// checkInit refuses at once what cannot be. A user who is not root comes here again
// by sudo.
func checkInit(a *app, o onboard.Options, yes bool) error {
	if err := remote.CheckDestination(o.Destination); err != nil {
		return fail(exitUsage, "gatelodge init root@VPS", "%w", err)
	}
	if err := onboard.CheckFresh(a.paths()); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return againBySudo(o)
	}
	if !yes && !terminal.Is(a.in) {
		return fail(exitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	if a.instance().IsMachines() && !systemd.Booted() && !o.WithoutService {
		return fail(exitUsage, "add --without-service: after each boot, run gatelodge up", "this machine has no systemd, so the home would not come back after a reboot")
	}
	return nil
}

// againBySudo starts the same command line as root. The agent is named in it,
// because sudo drops the variable that names it; ssh itself runs as the user
// who called sudo.
func againBySudo(o onboard.Options) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return fail(exitPrivilege, "run it as root", "this needs root, and there is no sudo")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{sudo, "--", self}, os.Args[1:]...)
	if agent := os.Getenv("SSH_AUTH_SOCK"); agent != "" && o.SSHAgent == "" {
		args = append(args, "--ssh-agent", agent)
	}
	return fmt.Errorf("cannot start %s: %w", sudo, syscall.Exec(sudo, args, os.Environ()))
}

// progress shows the owner what goes on.
type progress struct {
	*app
	yes         bool
	destination string
}

// Step implements onboard.Progress.
func (p *progress) Step(n, of int, name string) { p.printf("%d/%d %s\n", n, of, name) }

// Done implements onboard.Progress.
func (p *progress) Done(text string) { p.printf("  %s\n", text) }

// Agree implements onboard.Progress.
func (p *progress) Agree(ctx context.Context, what onboard.Proposal) error {
	p.printf("The VPS:\n")
	p.printDone(what.VPS)
	p.printf("To do, on the VPS:\n")
	p.printDone(what.There)
	p.printf("To do, on this machine:\n")
	p.printDone(what.Here)
	for _, n := range what.Notes {
		p.printf("  note         %s\n", n)
	}
	return p.agree(ctx, p.yes, "Continue?")
}

// Password implements onboard.Progress.
func (p *progress) Password(ctx context.Context) (string, error) {
	return terminal.Secret(ctx, p.in, p.errOut, passwordPrompt(p.destination))
}
