package homeside

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/onboard"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

// Init returns the command of that name.
func Init(a *command.App) *cobra.Command {
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
		Args:    command.Some(1, 1, "the VPS, as your ssh reaches it: gatelodge init root@198.51.100.1"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Destination = args[0]
			return setUp(c.Context(), a, o, yes)
		},
	}
	f := c.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	command.Port(f, &o.Port, "port", "p", 0, "port of the VPS's ssh server (default: as ssh decides)")
	command.Texts(f, &o.SSHSettings, "ssh-option", "a setting for ssh, as after its -o; can be repeated")
	command.Text(f, &o.SSHAgent, "ssh-agent", "", "socket of the ssh agent (default: the one in SSH_AUTH_SOCK)")
	command.Text(f, &o.Name, "name", "", "name of this home at the gate (default: this machine's host name)")
	command.List(f, &o.Endpoints, "endpoint", "name or address at which this home reaches the VPS (default: its public addresses)", nil)
	command.Port(f, &o.ListenPort, "listen-port", "", 55107, "UDP port of WireGuard on the VPS")
	command.Text(f, &o.Input, "input", "protect", `"protect" filters what arrives for the VPS itself, "leave" does not`)
	command.Text(f, &o.Binary, "binary", "", "the program to install on the VPS (default: this one, or the packaged one for its processor)")
	f.BoolVar(&o.WithoutService, "without-service", false, "continue without systemd, although nothing then starts gatelodge after a reboot")
	command.Text(f, &o.RemoteRoot, "remote-root", "/", "the --root of the gate on the VPS")
	if err := f.MarkHidden("remote-root"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return c
}

// setUp carries init out.
func setUp(ctx context.Context, a *command.App, o onboard.Options, yes bool) error {
	begin := time.Now()
	name, err := homeName(o.Name)
	if err != nil {
		return err
	}
	o.Name = name
	if err := checkInit(a, o, yes); err != nil {
		return err
	}
	quiet := &command.App{Root: a.Root, In: a.In, Out: io.Discard, ErrOut: io.Discard}
	here := onboard.Here{
		Instance: a.Instance(), Version: a.Version, Editor: a.Editor(), Terminal: a.ErrOut,
		Look: func(ctx context.Context) (host.Found, error) { return host.Look(ctx, a.Root, "") },
		Join: func(ctx context.Context, invite key.Invite) (string, error) { return becomeHome(ctx, a, invite) },
		Down: func(ctx context.Context) error { _, err := quiet.Down(ctx); return err },
	}
	if err := onboard.Run(ctx, o, here, &progress{App: a, yes: yes, destination: o.Destination}); err != nil {
		return command.Stopped(ctx, err, "what init had made, here and on the VPS, is undone")
	}
	a.Printf("done in %.0f s\nnext: gatelodge expose 443\n", time.Since(begin).Seconds())
	return nil
}

// homeName makes a name for this home from its host name, if none is given.
func homeName(given string) (string, error) {
	if given != "" {
		if err := forward.CheckName(given); err != nil {
			return "", command.Fail(command.ExitUsage, "--name attic", "%w", err)
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
func checkInit(a *command.App, o onboard.Options, yes bool) error {
	if err := remote.CheckDestination(o.Destination); err != nil {
		return command.Fail(command.ExitUsage, "gatelodge init root@VPS", "%w", err)
	}
	if err := onboard.CheckFresh(a.Paths()); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return againBySudo(o)
	}
	if !yes && !terminal.Is(a.In) {
		return command.Fail(command.ExitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	if a.Instance().IsMachines() && !systemd.Booted() && !o.WithoutService {
		return command.Fail(command.ExitUsage, "add --without-service: after each boot, run gatelodge up", "this machine has no systemd, so the home would not come back after a reboot")
	}
	return nil
}

// againBySudo starts the same command line as root. The agent is named in it,
// because sudo drops the variable that names it; ssh itself runs as the user
// who called sudo.
func againBySudo(o onboard.Options) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return command.Fail(command.ExitPrivilege, "run it as root", "this needs root, and there is no sudo")
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
	*command.App
	yes         bool
	destination string
}

// Step implements onboard.Progress.
func (p *progress) Step(n, of int, name string) { p.Printf("%d/%d %s\n", n, of, name) }

// Done implements onboard.Progress.
func (p *progress) Done(text string) { p.Printf("  %s\n", text) }

// Agree implements onboard.Progress.
func (p *progress) Agree(ctx context.Context, what onboard.Proposal) error {
	p.Printf("The VPS:\n")
	p.PrintDone(what.VPS)
	p.Printf("To do, on the VPS:\n")
	p.PrintDone(what.There)
	p.Printf("To do, on this machine:\n")
	p.PrintDone(what.Here)
	for _, n := range what.Notes {
		p.Printf("  note         %s\n", n)
	}
	return p.App.Agree(ctx, p.yes, "Continue?")
}

// Password implements onboard.Progress.
func (p *progress) Password(ctx context.Context) (string, error) {
	return terminal.Secret(ctx, p.In, p.ErrOut, passwordPrompt(p.destination))
}

// passwordPrompt says whose password is asked for, in the words of the user who
// started this: anything that the VPS says, its login name too, could make the
// question look like another.
func passwordPrompt(destination string) string {
	return fmt.Sprintf("Password for sudo on the VPS %s (not for this machine): ", destination)
}
