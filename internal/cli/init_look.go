package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/survey"
	"github.com/gatelodge/gatelodge/internal/systemd"
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
	if s.here, err = host.Look(ctx, s.root, ""); err != nil {
		return err
	}
	if err := refused("this machine cannot be a home: ", survey.JudgeHome(s.here.Survey)); err != nil {
		return err
	}
	if s.found, err = s.conn.Look(ctx, s.o.remoteRoot); err != nil {
		return err
	}
	four, six := families(s.here.Facts.Public)
	s.verdict = survey.Judge(s.found, survey.Wish{
		Port: s.o.listenPort, WithoutService: s.o.withoutService, Leave: s.o.input == "leave",
		IPv4: four, IPv6: six, Named: len(s.o.endpoints) > 0,
	})
	if err := refused("this VPS cannot be a gate: ", s.verdict.Refusals); err != nil {
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
func refused(cannot string, refusals []survey.Refusal) error {
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
	user, err := caller()
	if err != nil {
		return err
	}
	s.bring, err = remote.Program(s.found.Arch(), s.o.binary, self, user)
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
