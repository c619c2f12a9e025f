package hosttest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

var home = key.Public{1}

// wanted of a machine: a tunnel with one peer.
func tunnel() plan.State {
	return plan.State{
		WireGuard: plan.WireGuard{Interface: "gatelodge", MTU: 1420, Peers: []plan.Peer{{PublicKey: home, Endpoint: netip.MustParseAddrPort("192.0.2.1:1")}}},
		Routing:   plan.Routing{Interface: "gatelodge", MTU: 1420, Sysctls: []plan.Sysctl{{Name: "net.ipv4.conf.eth0.forwarding", Value: "1"}, {Name: ipForward, Value: "1"}}},
		Firewall:  plan.Firewall{Table: "gatelodge", Gate: &plan.GateFirewall{}},
	}
}

// A test can have an operation fail, and hang, and let go of it.
func TestFaultsAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ctx, noNFT := New(VPS()), t.Context(), errors.New("no nft")
		m.Fail(Apply, noNFT, 1)
		if _, err := m.Apply(ctx, tunnel()); err != noNFT {
			t.Errorf("the first: %v", err)
		}
		if left, err := m.Diff(ctx, tunnel()); err != nil || len(left) == 0 {
			t.Errorf("what failed has changed something: %v, %v", left, err)
		}
		release := m.Hang(Apply)
		done := make(chan error, 1)
		go func() { _, err := m.Apply(ctx, tunnel()); done <- err }()
		synctest.Wait()
		impatient, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := m.Apply(impatient, tunnel()); !errors.Is(err, context.DeadlineExceeded) || len(done) > 0 {
			t.Errorf("it does not hang: %v", err)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, err := m.Diff(ctx, tunnel()); err != nil || len(left) > 0 || m.Count(Apply) != 3 {
			t.Errorf("after %d calls this is left: %v, %v", m.Count(Apply), left, err)
		}
	})
}

// Events that nobody has taken are one, and none come once nobody listens.
func TestWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(VPS())
		ctx, cancel := context.WithCancel(t.Context())
		events, err := m.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m.Notify()
		m.Notify()
		if <-events; len(events) > 0 {
			t.Error("two events wait")
		}
		cancel()
		synctest.Wait()
		m.Notify()
		if _, open := <-events; open {
			t.Error("an event after the end")
		}
	})
}
