package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/status"
)

// A home that leaves is no longer published, and its machine is as it was; with the
// next invite it publishes what it did before. No file is removed by hand.
func TestAHomeLeavesAndJoinsAgain(t *testing.T) {
	l := newJoinedLab(t)
	reachable(t, l)
	contains(t, refuses(t, l.Home(), 2, "leave"), "there is nobody to ask", "add --yes")
	contains(t, refuses(t, l.Gate(), 1, "leave"), "this machine is a gate, not a home", "gatelodge gate close")
	reachable(t, l)

	contains(t, gatelodge(t, l.Home(), "leave", "--yes"), "this machine is no home any longer", "home.toml.kept", "gatelodge gate revoke")
	silent(t, l, forward.TCP, netip.AddrPortFrom(l.Gate().IPv4, portEcho))
	eventually(t, "the gate publishes nothing of it", func(ctx context.Context) error {
		r, err := l.Gate().Status(ctx)
		if err == nil && len(r.Forwards) > 0 {
			err = fmt.Errorf("it has %+v", r.Forwards)
		}
		return err
	})
	contains(t, refuses(t, l.Home(), 1, "status"), "neither a gate nor a home")
	contains(t, refuses(t, l.Home(), 1, "leave"), "neither a gate nor a home")

	// By a new invite of the same gate.
	gatelodge(t, l.Gate(), "gate", "revoke", "home", "--yes")
	must(t, l.Join(t.Context(), l.Home()))
	eventually(t, "the forwards of before are published", func(ctx context.Context) error {
		r, err := l.Home().Status(ctx)
		if err == nil && (len(r.Forwards) != 1 || r.Forwards[0].State != string(status.Granted)) {
			err = fmt.Errorf("it has %+v", r.Forwards)
		}
		return err
	})
	reachable(t, l)
	contains(t, refuses(t, l.Home(), 1, "join", strings.TrimSpace(gatelodge(t, l.Gate(), "gate", "invite", "attic"))), "this machine is the home home of a gate already", "gatelodge leave")
	reachable(t, l)
}

// A home leaves also where its gate is out of reach, and says that the gate does
// not know.
func TestAHomeLeavesAGateThatIsGone(t *testing.T) {
	l := newJoinedLab(t)
	gatelodge(t, l.Gate(), "down")
	contains(t, gatelodge(t, l.Home(), "leave", "--yes"), "this machine is no home any longer")
	contains(t, refuses(t, l.Home(), 1, "status"), "neither a gate nor a home")
}

// A gate that is closed leaves its machine as it was, and can be made again.
func TestAGateIsClosedAndMadeAgain(t *testing.T) {
	l := newJoinedLab(t)
	contains(t, refuses(t, l.Gate(), 2, "gate", "close"), "there is nobody to ask")
	reachable(t, l)
	contains(t, gatelodge(t, l.Gate(), "gate", "close", "--yes"), "this machine is no gate any longer", "gate.toml.kept")
	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	if c, err := l.Visitor().Dial(t.Context(), "tcp", at.String()); err == nil {
		t.Error("a closed gate forwards", c.Close())
	}
	contains(t, refuses(t, l.Gate(), 1, "status"), "neither a gate nor a home")
	must(t, l.InitGate(t.Context()))
	must(t, l.Join(t.Context(), l.Home2()))
}
