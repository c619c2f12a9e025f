package onboard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/survey"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// connect also becomes root there, so that nothing has to be asked later.
func (s *setup) connect(ctx context.Context) error {
	as, err := caller()
	if err != nil {
		return err
	}
	s.vps.conn, err = remote.Connect(ctx, remote.Options{
		Destination: s.o.Destination, Port: s.o.Port, Settings: s.o.SSHSettings,
		As: as, Agent: s.o.SSHAgent, Terminal: s.here.Terminal,
	})
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return problem.New(problem.Unreachable, e.Hint, "%w", err)
	}
	if err != nil {
		return err
	}
	err = s.vps.conn.Rise(ctx, func() (string, error) { return s.progress.Password(ctx) })
	if errors.Is(err, remote.ErrNoRoot) {
		return problem.New(problem.Privilege, "log in as root, or as a user who may use sudo on the VPS", "%w", err)
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
func (s *setup) look(ctx context.Context) error {
	here, err := s.here.Look(ctx)
	if err != nil {
		return err
	}
	if err := Refused("this machine cannot be a home: ", survey.JudgeHome(here.Survey)); err != nil {
		return err
	}
	if s.found, err = s.vps.conn.Look(ctx, s.o.RemoteRoot); err != nil {
		return err
	}
	four, six := families(here.Facts.Public)
	s.verdict = survey.Judge(s.found, survey.Wish{
		Port: s.o.ListenPort, WithoutService: s.o.WithoutService, Leave: s.o.Input == "leave",
		IPv4: four, IPv6: six, Named: len(s.o.Endpoints) > 0,
	})
	if err := Refused("this VPS cannot be a gate: ", s.verdict.Refusals); err != nil {
		return err
	}
	s.vps.program = s.found.Program
	if s.verdict.Bring || s.found.Program == "" {
		s.vps.program = install.Program
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
	unit, err := s.here.Unit(ctx)
	s.install = s.here.IsMachines() && systemd.Booted() && unit == nil
	return err
}

// Refused turns all that stands in the way into one error, nil if nothing does.
// Each begins with what cannot be.
func Refused(cannot string, refusals []survey.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var why, hints []string
	for _, r := range refusals {
		why = append(why, cannot+r.Why)
		if !slices.Contains(hints, r.Hint) {
			hints = append(hints, r.Hint)
		}
	}
	return problem.New(problem.Failed, strings.Join(hints, "; "), "%s", strings.Join(why, "\n"))
}

// findEndpoint decides where this home will dial a VPS that does not know its
// own public address, as behind the NAT of some providers: where ssh does.
func (s *setup) findEndpoint(ctx context.Context) error {
	if !s.verdict.Init || len(s.o.Endpoints) > 0 || len(s.found.Public()) > 0 {
		return nil
	}
	name, direct, err := s.vps.conn.Address(ctx)
	if err != nil {
		return err
	}
	if !direct {
		return problem.New(problem.Failed, "add --endpoint ADDRESS-OR-NAME", "the VPS has no public address of its own, and the way that ssh reaches it does not show one")
	}
	s.o.Endpoints = []string{name}
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
	user, err := caller()
	if err != nil {
		return err
	}
	s.bring, err = remote.Program(s.found.Arch(), s.o.Binary, self, user)
	if err != nil {
		return problem.New(problem.Failed, "name that program for it: --binary "+remote.FileName(s.found.Arch()), "%w", err)
	}
	return nil
}

// checkHomes refuses a name that a home of the gate has already. A gate that does
// not run is started by a later step, which asks again.
func (s *setup) checkHomes(ctx context.Context) error {
	if s.verdict.Init || s.verdict.Bring {
		return nil
	}
	r, err := s.vps.status(ctx)
	if notRunning(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot ask the gate which homes it has: %w", err)
	}
	return s.refuseHome(r)
}

func (s *setup) refuseHome(r gateReport) error {
	for _, h := range r.Homes {
		if h.Name == s.o.Name {
			return problem.New(problem.Failed, "choose another name: --name NAME; or, if that home is gone, on the VPS: gatelodge gate revoke "+h.Name, "the gate already has a home with the name %s", h.Name)
		}
	}
	return nil
}

// families says by which a machine reaches the internet.
func families(addrs []netip.Addr) (four, six bool) {
	for _, a := range addrs {
		four = four || a.Is4() && a.IsGlobalUnicast()
		six = six || a.Is6() && plan.Routable(a)
	}
	return four, six
}
