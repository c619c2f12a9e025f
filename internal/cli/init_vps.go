package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/packaging"
)

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
	version := Version
	if s.o.binary != "" {
		version = "" // it is what its owner says that it is
	}
	if err := s.conn.Bring(ctx, s.bring, version, s.o.remoteRoot); err != nil {
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
	if err != nil || !r.inState(status.OnTrial) {
		return err
	}
	const patience = 20 * time.Second
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var knock error
	for until := time.Now().Add(patience); time.Now().Before(until); {
		knock = s.conn.Knock(ctx)
		if r, err = s.gateStatus(ctx); err != nil {
			return err
		}
		if r.inState(status.Kept) {
			s.printf("  a new ssh connection comes through: its firewall stays\n")
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
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
