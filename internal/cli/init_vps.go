package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/packaging"
)

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
	return nameFrom(machine), nil
}

// nameFrom turns a host name into the name of a home.
func nameFrom(machine string) string {
	label, _, _ := strings.Cut(strings.ToLower(machine), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, label)
	name = strings.Trim(name[:min(len(name), 32)], "-")
	if forward.CheckName(name) != nil {
		return "home"
	}
	return name
}

// connect also becomes root there, so that nothing has to be asked later.
func (s *setup) connect(ctx context.Context) error {
	as, err := caller()
	if err != nil {
		return err
	}
	s.conn, err = remote.Connect(ctx, remote.Options{
		Destination: s.o.destination, Port: s.o.port, Settings: s.o.sshSettings,
		As: as, Agent: s.o.sshAgent, Terminal: s.errOut,
	})
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return fail(exitUnreachable, e.Hint, "%w", err)
	}
	if err != nil {
		return err
	}
	err = s.conn.Rise(ctx, func() (string, error) { return s.askPassword(ctx) })
	if errors.Is(err, remote.ErrNoRoot) {
		return fail(exitPrivilege, "log in as root, or as a user who may use sudo there", "%w", err)
	}
	return err
}

// caller returns the user who has called sudo: the ssh configuration and the
// keys are theirs. nil is root itself.
func caller() (*remote.User, error) {
	id := os.Getenv("SUDO_UID")
	if id == "" || id == "0" || os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.LookupId(id)
	if err != nil {
		return nil, fmt.Errorf("cannot run ssh as the user who called sudo: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	c := &remote.User{Name: u.Username, UID: uint32(uid), GID: uint32(gid), Home: u.HomeDir}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("cannot run ssh as %s, whose groups are not known: %w", u.Username, err)
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	return c, nil
}

// look looks at both machines, and changes neither.
func (s *setup) look(ctx context.Context) (err error) {
	if s.here, err = host.Look(ctx, ""); err != nil {
		return fmt.Errorf("this machine cannot be a home: %w", err)
	}
	if s.found, err = s.conn.Look(ctx, s.o.remoteRoot); err != nil {
		return err
	}
	four, six := families(s.here.Facts.Public)
	s.verdict = remote.Judge(s.found, remote.Wish{
		Port: s.o.listenPort, WithoutService: s.o.withoutService, Leave: s.o.input == "leave",
		IPv4: four, IPv6: six, Named: len(s.o.endpoints) > 0,
	})
	if err := refused(s.verdict); err != nil {
		return err
	}
	if err := s.findEndpoint(ctx); err != nil {
		return err
	}
	if err := s.findProgram(); err != nil {
		return err
	}
	if err := s.checkHomes(ctx); err != nil {
		return err
	}
	unit, err := s.service(ctx)
	s.install = s.isMachine() && systemd.Booted() && unit == nil
	return err
}

// refused turns all that stands in the way into one error.
func refused(v remote.Verdict) error {
	if len(v.Refusals) == 0 {
		return nil
	}
	var why, hints []string
	for _, r := range v.Refusals {
		why = append(why, "this VPS cannot be a gate: "+r.Why)
		if !slices.Contains(hints, r.Hint) {
			hints = append(hints, r.Hint)
		}
	}
	return fail(exitFailed, strings.Join(hints, "; "), "%s", strings.Join(why, "\n"))
}

// findEndpoint decides where this home will dial a VPS that does not know its
// own public address, as behind the NAT of some providers: where ssh does.
func (s *setup) findEndpoint(ctx context.Context) error {
	if !s.verdict.Init || len(s.o.endpoints) > 0 || len(s.found.Public()) > 0 {
		return nil
	}
	name, direct, err := s.conn.Address(ctx)
	if err != nil {
		return err
	}
	if !direct {
		return fail(exitFailed, "add --endpoint ADDRESS-OR-NAME", "the VPS has no public address of its own, and ssh reaches it by a way that does not tell one")
	}
	s.o.endpoints = []string{name}
	return nil
}

func (s *setup) findProgram() error {
	if !s.verdict.Bring {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.bring, err = remote.Program(s.found.Arch(), s.o.binary, self)
	if err != nil {
		return fail(exitFailed, "name the file of that release: --binary "+remote.FileName(s.found.Arch()), "%w", err)
	}
	return nil
}

// checkHomes refuses a name that a home of the gate has already.
func (s *setup) checkHomes(ctx context.Context) error {
	if s.verdict.Init || s.verdict.Bring {
		return nil
	}
	r, err := s.gateStatus(ctx)
	if err != nil {
		return nil // it does not run; starting it is a later step
	}
	for _, h := range r.Homes {
		if h.Name == s.o.name {
			return fail(exitFailed, "choose another name: --name NAME; or, if that home is gone, on the VPS: gatelodge gate revoke "+h.Name, "the gate has a home of the name %s already", h.Name)
		}
	}
	return nil
}

// program returns where gatelodge is on the VPS.
func (s *setup) program() string {
	if s.verdict.Bring || s.found.Program == "" {
		return install.Program
	}
	return s.found.Program
}

// rootThere is what stands before every path of the gate on the VPS; nothing,
// unless several instances live there.
func (s *setup) rootThere() string { return strings.TrimRight(s.o.remoteRoot, "/") }

// commandTime bounds a command of gatelodge on the VPS: a slow one has half a
// minute to start its daemon.
const commandTime = 2 * time.Minute

// gatelodge carries out a command on the VPS, to its end: one that is stopped
// half-way leaves who knows what.
func (s *setup) gatelodge(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	root := s.rootThere()
	words := []string{root + s.program(), "--root", root + "/"}
	out, err := s.conn.Root(ctx, remote.Command{Script: `exec "$@"`, Args: append(words, args...)})
	return out, explainThere(err)
}

// explainThere passes on what gatelodge has said on the VPS.
func explainThere(err error) error {
	exit, ok := errors.AsType[*remote.ExitError](err)
	if !ok {
		return err
	}
	var errs []string
	var hint string
	for line := range strings.Lines(exit.Said) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "gatelodge: error: "); ok {
			errs = append(errs, text)
		} else if text, ok := strings.CutPrefix(line, "gatelodge: hint: "); ok {
			hint = "on the VPS: " + text
		}
	}
	if len(errs) == 0 {
		return fmt.Errorf("on the VPS: %w", err)
	}
	return fail(exitFailed, hint, "on the VPS: %s", strings.Join(errs, "\n"))
}

func (s *setup) gateStatus(ctx context.Context) (status.Report, error) {
	out, err := s.gatelodge(ctx, "status", "--json")
	if err != nil {
		return status.Report{}, err
	}
	var r status.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, fmt.Errorf("cannot read the gate's status: %w", err)
	}
	return r, nil
}

// installNFT is what apt-get needs in order to ask nothing.
const installNFT = `export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2 && apt-get install -y -q --no-install-recommends nftables >&2`

// transferTime bounds the copying of the program, over a slow line.
const transferTime = 15 * time.Minute

func (s *setup) installThere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTime)
	defer cancel()
	if s.verdict.InstallNFT {
		if _, err := s.conn.Root(ctx, remote.Command{Script: installNFT}); err != nil {
			return fail(exitFailed, "make this work by hand, on the VPS: apt-get install nftables", "cannot install nftables: %w", err)
		}
		s.printf("  installed nftables, which stays whatever comes\n")
	}
	if !s.verdict.Bring {
		s.printf("  nothing to do: it has gatelodge %s\n", s.found.Version)
		return nil
	}
	if s.found.Program == "" {
		uninstall := []string{"uninstall"}
		if s.purges() {
			uninstall = append(uninstall, "--purge")
		}
		s.onFailure("gatelodge on the VPS", func(ctx context.Context) error { return s.uninstallThere(ctx, uninstall) })
	}
	if err := s.conn.Bring(ctx, s.bring, s.o.remoteRoot); err != nil {
		return explainThere(err)
	}
	s.printf("  copied %d MB, checked by SHA-256\n", len(s.bring)>>20)
	return nil
}

// purges reports whether taking the program back also takes all that it keeps
// on the VPS: only where all of that is of this run.
func (s *setup) purges() bool {
	return s.verdict.Init && s.found.Program == "" && len(s.found.Kept) == 0
}

// uninstallThere removes gatelodge from the VPS, if it has come there at all.
func (s *setup) uninstallThere(ctx context.Context, args []string) error {
	root := s.rootThere()
	_, err := s.conn.Root(ctx, remote.Command{
		Script: `if [ -x "$1" ]; then exec "$@"; fi`,
		Args:   append([]string{root + install.Program, "--root", root + "/"}, args...),
	})
	return explainThere(err)
}

// unmakeGate takes back what gate init has made of a VPS that had the program,
// or files of somebody's. Down needs those that go afterwards.
const unmakeGate = `if [ -e "$2/etc/gatelodge/gate.toml" ]; then "$1" --root "$2/" down || exit; fi
if [ -z "$2" ] && [ -d /run/systemd/system ]; then systemctl disable ` + packaging.Service + `; fi
rm -f "$2/etc/gatelodge/gate.toml" "$2/var/lib/gatelodge/gate.json" "$2/var/lib/gatelodge/gate.json.last"`

func (s *setup) makeGate(ctx context.Context) error {
	if !s.verdict.Init {
		s.printf("  it is one already\n")
		if err := s.enableGate(ctx); err != nil {
			return err
		}
		_, err := s.gatelodge(ctx, "up")
		return err
	}
	if !s.purges() {
		root := s.rootThere()
		s.onFailure("the gate", func(ctx context.Context) error {
			_, err := s.conn.Root(ctx, remote.Command{Script: unmakeGate, Args: []string{root + s.program(), root}})
			return explainThere(err)
		})
	}
	args := []string{"gate", "init", "--yes", "--listen-port", strconv.Itoa(int(s.o.listenPort)), "--input", s.o.input}
	for _, e := range s.o.endpoints {
		args = append(args, "--endpoint", e)
	}
	if _, err := s.gatelodge(ctx, args...); err != nil {
		return err
	}
	s.printf("  it runs\n")
	return s.proveInput(ctx)
}

// enableGate has a gate that was there before come back after a reboot, too.
func (s *setup) enableGate(ctx context.Context) error {
	if !s.verdict.Enable {
		return nil
	}
	systemctl := func(verb string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.conn.Root(ctx, remote.Command{Script: `exec systemctl "$@"`, Args: []string{"--quiet", verb, packaging.Service}})
			return explainThere(err)
		}
	}
	s.onFailure("the start of "+packaging.Service+" at boot", systemctl("disable"))
	return systemctl("enable")(ctx)
}

// proveInput shows the gate a new ssh connection, so that it keeps the input
// policy that is on trial there.
func (s *setup) proveInput(ctx context.Context) error {
	r, err := s.gateStatus(ctx)
	if err != nil || r.Input == nil || r.Input.State != status.OnTrial {
		return err
	}
	const look, patience = 500 * time.Millisecond, 20 * time.Second
	var knock error
	for until := time.Now().Add(patience); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(look) {
		knock = s.conn.Knock(ctx)
		if r, err = s.gateStatus(ctx); err != nil {
			return err
		}
		if r.Input != nil && r.Input.State == status.Kept {
			s.printf("  a new ssh connection comes through: its firewall stays\n")
			return nil
		}
	}
	hint := "with --input leave, gatelodge does not filter what arrives for the VPS itself"
	if knock != nil {
		return fail(exitFailed, hint, "the VPS's firewall was on trial, and failed: %w", knock)
	}
	return fail(exitFailed, hint, "the VPS's firewall was on trial, and the gate has seen no new ssh connection come through")
}

// makeInvite gets an invite, which is shown nowhere. One of the same name that
// an interrupted run has left is void.
func (s *setup) makeInvite(ctx context.Context) error {
	r, err := s.gateStatus(ctx)
	if err != nil {
		return err
	}
	for _, i := range r.Invites {
		if i.Name != s.o.name {
			continue
		}
		s.printf("  an earlier invite for %s is void now\n", i.Name)
		if _, err := s.gatelodge(ctx, "gate", "revoke", i.Name); err != nil {
			return err
		}
	}
	out, err := s.gatelodge(ctx, "gate", "invite", s.o.name, "--for", "1h")
	if err != nil {
		return err
	}
	s.invite = strings.TrimSpace(out)
	if !s.verdict.Init {
		s.onFailure("the invite of "+s.o.name, func(ctx context.Context) error {
			_, err := s.gatelodge(ctx, "gate", "revoke", s.o.name)
			return err
		})
	}
	return nil
}
