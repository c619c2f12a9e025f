package onboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatelodge/gatelodge/internal/install"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/packaging"
)

// gateSteps are those on the VPS.
type gateSteps struct{ *setup }

// installNFT is what apt-get needs in order to ask nothing.
const installNFT = `export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2 && apt-get install -y -q --no-install-recommends nftables >&2`

// transferTime bounds the copying of the program, over a slow line.
const transferTime = 15 * time.Minute

func (s gateSteps) installThere(context.Context) ([]part, error) {
	var parts []part
	if s.verdict.InstallNFT {
		parts = append(parts, part{do: s.installNFTThere}) // which stays, whatever comes
	}
	bring := part{what: "gatelodge on the VPS", do: s.bringProgram}
	if s.verdict.Bring && s.found.Program == "" {
		bring.undo = s.uninstallThere
	}
	return append(parts, bring), nil
}

func (s gateSteps) installNFTThere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTime)
	defer cancel()
	if _, err := s.vps.conn.Root(ctx, remote.Command{Script: installNFT}); err != nil {
		return problem.New(problem.Failed, "make this work by hand first, on the VPS: apt-get install nftables", "cannot install nftables: %w", err)
	}
	s.progress.Done("installed nftables, which stays in any case")
	return nil
}

// bringProgram goes on to its end, also when its owner stops it.
func (s gateSteps) bringProgram(ctx context.Context) error {
	if !s.verdict.Bring {
		s.progress.Done("nothing to do: it has gatelodge " + s.found.Version)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTime)
	defer cancel()
	version := s.here.Version
	if s.o.Binary != "" {
		version = "" // it is what its owner says that it is
	}
	if err := s.vps.conn.Bring(ctx, s.bring, version, s.o.RemoteRoot); err != nil {
		return explainThere(err)
	}
	s.progress.Done(fmt.Sprintf("copied %d MB, checked by SHA-256", len(s.bring)>>20))
	return nil
}

// purges reports whether removing the program again also removes all that it keeps
// on the VPS: only where all of that is of this run.
func (s gateSteps) purges() bool {
	return s.verdict.Init && s.found.Program == "" && len(s.found.Kept) == 0
}

// uninstallThere removes gatelodge from the VPS, if it has come there at all.
func (s gateSteps) uninstallThere(ctx context.Context) error {
	root := s.vps.root
	args := []string{root + install.Program, "--root", root + "/", "uninstall"}
	if s.purges() {
		args = append(args, "--purge")
	}
	_, err := s.vps.conn.Root(ctx, remote.Command{
		Script: orWithoutJSON + `if [ -x "$1" ]; then orWithoutJSON "$@"; fi`,
		Args:   args,
	})
	return explainThere(err)
}

// orWithoutJSON is a function for sh(1) that carries out a command of gatelodge
// with --json, and without where an earlier version refuses that.
const orWithoutJSON = `orWithoutJSON() { "$@" --json; code=$?; [ $code != 2 ] || { "$@"; code=$?; }; return $code; }
`

// unmakeGate undoes what gate init has made of a VPS that had the program,
// or files of somebody's. Down needs those that go afterwards.
const unmakeGate = orWithoutJSON + `if [ -e "$2/etc/gatelodge/gate.toml" ]; then orWithoutJSON "$1" --root "$2/" down || exit; fi
if [ -z "$2" ] && [ -d /run/systemd/system ]; then systemctl disable ` + packaging.Service + `; fi
rm -f "$2/etc/gatelodge/gate.toml" "$2/var/lib/gatelodge/gate.json" "$2/var/lib/gatelodge/gate.json.last"`

// makeGate makes the VPS a gate, unless it is one. Where all that is on the VPS
// goes with the program, that is enough to undo it.
func (s gateSteps) makeGate(context.Context) ([]part, error) {
	if !s.verdict.Init {
		return s.useGate(), nil
	}
	gate := part{what: "the gate", do: s.initGate}
	if !s.purges() {
		gate.undo = func(ctx context.Context) error {
			root := s.vps.root
			_, err := s.vps.conn.Root(ctx, remote.Command{Script: unmakeGate, Args: []string{root + s.vps.program, root}})
			return explainThere(err)
		}
	}
	return []part{gate, {do: s.proveInput}}, nil
}

func (s gateSteps) initGate(ctx context.Context) error {
	args := []string{"gate", "init", "--yes", "--listen-port", strconv.Itoa(int(s.o.ListenPort)), "--input", s.o.Input}
	for _, e := range s.o.Endpoints {
		args = append(args, "--endpoint", e)
	}
	if _, err := s.vps.gatelodge(ctx, args...); err != nil {
		return err
	}
	s.progress.Done("it runs")
	return nil
}

// useGate has a gate that was there before come back after a reboot, too, and
// starts it.
func (s gateSteps) useGate() []part {
	s.progress.Done("it is one already")
	up := part{do: func(ctx context.Context) error {
		_, err := s.vps.gatelodge(ctx, "up")
		return err
	}}
	if !s.verdict.Enable {
		return []part{up}
	}
	systemctl := func(verb string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.vps.conn.Root(ctx, remote.Command{Script: `exec systemctl "$@"`, Args: []string{"--quiet", verb, packaging.Service}})
			return explainThere(err)
		}
	}
	return []part{{what: "the start of " + packaging.Service + " at boot", do: systemctl("enable"), undo: systemctl("disable")}, up}
}

// proveInput shows the gate a new ssh connection, so that it keeps the input
// policy that is on trial there.
func (s gateSteps) proveInput(ctx context.Context) error {
	r, err := s.vps.status(ctx)
	if err != nil || !r.inState(status.OnTrial) {
		return err
	}
	const patience = 20 * time.Second
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var knock error
	for until := time.Now().Add(patience); time.Now().Before(until); {
		knock = s.vps.conn.Knock(ctx)
		if r, err = s.vps.status(ctx); err != nil {
			return err
		}
		if r.inState(status.Kept) {
			s.progress.Done("a new ssh connection comes through: its firewall stays")
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
		return problem.New(problem.Failed, hint, "the VPS's firewall was on trial, and failed: %w", knock)
	}
	return problem.New(problem.Failed, hint, "the VPS's firewall was on trial, and the gate has seen no new ssh connection come through")
}

// makeInvite gets an invite, which is shown nowhere. A gate that was made for
// this run takes it along when it goes.
func (s gateSteps) makeInvite(context.Context) ([]part, error) {
	// An invite that was refused is none of ours, nor is what has its name.
	invite := part{what: "the invite of " + s.o.Name, do: s.getInvite, whole: true}
	if !s.verdict.Init {
		invite.undo = func(ctx context.Context) error { return s.vps.revoke(ctx, s.o.Name) }
	}
	return []part{{do: s.clearName}, invite}, nil
}

// clearName makes sure that the name is free, now that the gate runs. An invite
// of the same name that an interrupted run has left is void.
func (s gateSteps) clearName(ctx context.Context) error {
	r, err := s.vps.status(ctx)
	if err != nil {
		return err
	}
	if err := s.refuseHome(r); err != nil {
		return err
	}
	for _, i := range r.Invites {
		if i.Name != s.o.Name {
			continue
		}
		s.progress.Done("an earlier invite for " + i.Name + " is void now")
		if err := s.vps.revoke(ctx, i.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s gateSteps) getInvite(ctx context.Context) error {
	out, err := s.vps.gatelodge(ctx, "gate", "invite", s.o.Name, "--for", "1h")
	if err != nil {
		return err
	}
	var answer struct {
		Invite string `json:"invite"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return errors.New("the answer of the VPS holds no valid invite") // and the text might be one
	}
	s.invite = answer.Invite
	return nil
}
