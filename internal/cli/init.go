package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/survey"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// initOptions is what `init` can be told.
type initOptions struct {
	destination    string
	yes            bool
	port           uint16
	sshSettings    []string
	sshAgent       string
	name           string
	endpoints      []string
	listenPort     uint16
	input          string
	binary         string
	withoutService bool
	remoteRoot     string
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init [USER@]VPS",
		Short: "Make a VPS a gate, and this machine its home, over ssh",
		Long: `Init runs at home. It looks at the VPS over ssh and at this machine, shows what
it found and what it will do, asks, installs gatelodge on the VPS, makes it a
gate, joins this machine to it, and proves that a visitor gets through. It can
be repeated; if it fails half-way, what it has made goes again.

It uses the ssh of this machine, with your configuration, keys, agent, jump
hosts and known hosts; start it as yourself: it goes on by sudo. The user on
the VPS is root, or one who may become root by sudo.`,
		Example: "  gatelodge init root@198.51.100.1\n  gatelodge init ssh://debian@vps.example:2222 --name attic",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.destination = args[0]
			return a.init(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.Uint16VarP(&o.port, "port", "p", 0, "port of the VPS's ssh server (default: as ssh decides)")
	f.StringArrayVar(&o.sshSettings, "ssh-option", nil, "a setting for ssh, as its -o takes it; can be repeated")
	f.StringVar(&o.sshAgent, "ssh-agent", "", "socket of the ssh agent (default: the one in SSH_AUTH_SOCK)")
	f.StringVar(&o.name, "name", "", "name of this home at the gate (default: this machine's host name)")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "name or address at which this home reaches the VPS (default: its public addresses)")
	f.Uint16Var(&o.listenPort, "listen-port", 55107, "UDP port of WireGuard on the VPS")
	f.StringVar(&o.input, "input", "protect", `"protect" filters what arrives for the VPS itself, "leave" does not`)
	f.StringVar(&o.binary, "binary", "", "the program to install on the VPS (default: this one, or the packaged one for its processor)")
	f.BoolVar(&o.withoutService, "without-service", false, "go on where there is no systemd, and nothing starts gatelodge after a reboot")
	f.StringVar(&o.remoteRoot, "remote-root", "/", "the --root of the gate on the VPS")
	if err := f.MarkHidden("remote-root"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return c
}

// setup is one run of init.
type setup struct {
	*app
	o       initOptions
	conn    *remote.Conn
	here    host.Found
	found   survey.Facts
	verdict survey.Verdict
	bring   []byte // the program, if the VPS needs it
	install bool   // whether this machine needs the service
	invite  string // a secret
	undo    []undo
}

// undo takes back one thing that this run has made.
type undo struct {
	what string
	do   func(ctx context.Context) error
}

// step is one of init's, with a name for the owner.
type step struct {
	name string
	do   func(ctx context.Context) error
}

func (s *setup) steps() []step {
	return []step{
		{"connect to " + s.o.destination, s.connect},
		{"look at both machines", s.look},
		{"decide", s.decide},
		{"install gatelodge on the VPS", s.installThere},
		{"make the VPS a gate", s.makeGate},
		{"invite " + s.o.name, s.makeInvite},
		{"make this machine a home", s.makeHome},
		{"prove the way from outside to here and back", s.prove},
	}
}

// init does the steps one by one, and takes back what it has made if one
// fails. Not so the last: all stands by then, and what keeps a visitor out is
// none of ours.
func (a *app) init(ctx context.Context, o initOptions) error {
	begin := time.Now()
	s, err := a.newSetup(o)
	if err != nil {
		return err
	}
	defer func() {
		if s.conn != nil {
			err := s.conn.Close()
			if err != nil {
				a.notef("the connection to the VPS was not cleaned up: %v", err)
			}
		}
	}()
	steps := s.steps()
	for i, step := range steps {
		a.printf("%d/%d %s\n", i+1, len(steps), step.name)
		err := ctx.Err()
		if err == nil {
			err = step.do(ctx)
		}
		if err == nil {
			continue
		}
		err = fmt.Errorf("step %d, %s: %w", i+1, step.name, err)
		if i < len(steps)-1 {
			err = s.takeBack(ctx, err)
		}
		return err
	}
	a.printf("done in %.0f s\nnext: gatelodge expose 443\n", time.Since(begin).Seconds())
	return nil
}

// newSetup refuses at once what cannot be.
func (a *app) newSetup(o initOptions) (*setup, error) {
	if err := remote.CheckDestination(o.destination); err != nil {
		return nil, fail(exitUsage, "gatelodge init root@VPS", "%w", err)
	}
	name, err := homeName(o.name)
	if err != nil {
		return nil, err
	}
	o.name = name
	if err := a.unjoined(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, againBySudo(o)
	}
	if !o.yes && !onTerminal(a.in) {
		return nil, fail(exitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	s := &setup{app: a, o: o}
	if s.isMachine() && !systemd.Booted() && !o.withoutService {
		return nil, fail(exitUsage, "add --without-service: after each boot, run gatelodge up", "this machine has no systemd, so the home would not come back after a reboot")
	}
	return s, nil
}

// unjoined refuses to touch a machine that has a role already, or its keys.
func (a *app) unjoined() error {
	role, err := a.paths().Role()
	switch {
	case errors.Is(err, daemon.ErrNoRole):
		return a.keyless()
	case err != nil:
		return err
	}
	leave := fmt.Sprintf("gatelodge down, then remove %s and %s.json and %s.json.last from %s", a.paths().ConfigFile(role), role, role, a.paths().State())
	return fail(exitFailed, "gatelodge status; to begin anew: "+leave, "this machine is a %s already", role)
}

// keyless refuses a machine that has lost its role and not its keys: they would
// go with what is taken back. Who is not root may not see them, and comes here
// again as root.
func (a *app) keyless() error {
	for _, role := range []plan.Role{plan.Gate, plan.Home} {
		for _, name := range stateFiles(role) {
			file := filepath.Join(a.paths().State(), name)
			_, err := os.Lstat(file)
			if err == nil {
				hint := fmt.Sprintf("put %s back; or, if it is a %s no longer, move %s away", a.paths().ConfigFile(role), role, a.paths().State())
				return fail(exitFailed, hint, "this machine still has the keys of a %s, in %s", role, file)
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// stateFiles names what a role remembers, and its copy.
func stateFiles(role plan.Role) []string {
	return []string{string(role) + ".json", string(role) + ".json.last"}
}

// isMachine reports whether this is the machine's own instance.
func (s *setup) isMachine() bool { return filepath.Clean(s.root) == "/" }

// againBySudo starts the same command line as root. The agent is named in it,
// because sudo drops the variable that names it; ssh itself runs as the user
// who called sudo.
func againBySudo(o initOptions) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return fail(exitPrivilege, "run it as root", "this needs root, and there is no sudo to become it")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{sudo, "--", self}, os.Args[1:]...)
	if agent := os.Getenv("SSH_AUTH_SOCK"); agent != "" && o.sshAgent == "" {
		args = append(args, "--ssh-agent", agent)
	}
	return fmt.Errorf("cannot start %s: %w", sudo, syscall.Exec(sudo, args, os.Environ()))
}

// undoTime bounds the taking back of one thing.
const undoTime = 2 * time.Minute

// takeBack removes what this run has made, last things first, also after the
// owner has stopped it.
func (s *setup) takeBack(ctx context.Context, why error) error {
	var left []error
	for i := len(s.undo) - 1; i >= 0; i-- {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		err := s.undo[i].do(ctx)
		cancel()
		if err != nil {
			left = append(left, fmt.Errorf("could not take back, do it by hand: %s: %w", s.undo[i].what, err))
			continue
		}
		s.printf("  taken back: %s\n", s.undo[i].what)
	}
	if len(left) == 0 {
		return why
	}
	// The hint and the code are those of the failure itself.
	code, hint := classify(why)
	return fail(code, hint, "%w", errors.Join(append([]error{why}, left...)...))
}

func (s *setup) onFailure(what string, do func(ctx context.Context) error) {
	s.undo = append(s.undo, undo{what, do})
}

// decide shows all that was found and will be done, and asks.
func (s *setup) decide(ctx context.Context) error {
	s.showThere()
	s.printf("To do, on the VPS:\n")
	for _, line := range s.workThere() {
		s.printf("  %s\n", line)
	}
	s.printf("To do, on this machine:\n")
	for _, line := range s.workHere() {
		s.printf("  %s\n", line)
	}
	for _, n := range s.verdict.Notes {
		s.printf("  note         %s\n", n)
	}
	return s.agree(ctx, s.o.yes, "Go on?")
}

func (s *setup) showThere() {
	f := s.found
	virtual := ""
	if f.Virtual != "" && f.Virtual != "none" {
		virtual = ", " + f.Virtual
	}
	s.printf("The VPS:\n")
	s.printf("  system       %s, Linux %s, %s%s\n", f.DistributionName, f.Kernel, f.Machine, virtual)
	s.printf("  public       %s\n", publicThere(f))
	if f.NFT != "" {
		s.printf("  nftables     %s\n", f.NFT)
	}
}

func publicThere(f survey.Facts) string {
	if len(f.Public()) == 0 {
		return "no address of its own"
	}
	return joinAddrs(f.Public())
}

func joinAddrs(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(text, ", ")
}

func (s *setup) workThere() []string {
	var work []string
	if s.verdict.InstallNFT {
		work = append(work, "apt-get install nftables")
	}
	if s.verdict.Bring {
		work = append(work, fmt.Sprintf("copy gatelodge to %s (%d MB)%s", install.Program, len(s.bring)>>20, asService(s.found.Init == "systemd")))
	}
	if s.verdict.Init {
		work = append(work, fmt.Sprintf("make it a gate: WireGuard on UDP port %d; %s", s.o.listenPort, survey.InputText(s.o.input == "leave")))
	}
	if s.verdict.Enable {
		work = append(work, "have the service gatelodge start at boot")
	}
	return append(work, "invite the home "+s.o.name)
}

func (s *setup) workHere() []string {
	var work []string
	if s.install {
		work = append(work, "copy gatelodge to "+install.Program+asService(true))
	}
	return append(work,
		"make it a home: "+s.paths().ConfigFile(plan.Home),
		"publish a free TCP port for some seconds, to prove the way, and no longer")
}

func asService(is bool) string {
	if is {
		return ", as the service gatelodge"
	}
	return ""
}

// families says by which a machine reaches the internet.
func families(addrs []netip.Addr) (four, six bool) {
	for _, a := range addrs {
		four = four || a.Is4() && a.IsGlobalUnicast()
		six = six || a.Is6() && host.Routable(a)
	}
	return four, six
}
