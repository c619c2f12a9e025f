package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func TestApplyKeepsWhatPacketsHaveLeft(t *testing.T) {
	for _, way := range []string{"whole", "netlink"} {
		t.Run(way, func(t *testing.T) { applyKeepsWhatPacketsHaveLeft(t, way) })
	}
}

func applyKeepsWhatPacketsHaveLeft(t *testing.T, way string) {
	w := newWorld(t)
	limited := toHome(1, "5000")
	limited.Limit.Connections = 1
	limited.Limit.NewConnections = forward.Rate{Count: 2, Per: time.Hour}
	w.apply(t, gateWant(limited, toHome(2, "6000")), homeWant(mappings(netip.Addr{}, "5000", "6000")...))
	serve(t, w.home, 5000)
	c, err := visit(t, w.internet, "tcp", visitors[0], netip.AddrPortFrom(gatePublic4, 5000))
	must(t, err)
	if _, err := ask(c); err != nil {
		t.Fatal(err)
	}
	before := w.counters(t, w.gate).Forwards[1]
	if before.NewConnections != 1 || before.In.Packets < 3 || before.Out.Packets < 2 || before.In.Bytes == 0 {
		t.Fatalf("counted %+v", before)
	}
	inside(t, w.gate, func() {
		if way == "netlink" {
			observe(t, w.firewall, gateWant(limited, toHome(2, "6000"))) // so that it knows what stands
		}
		if got, err := w.firewall.Way(gateWant(limited, toHome(3, "7000"))); err != nil || got != way {
			t.Fatalf("it would go the way %s, %v, and not %s", got, err, way)
		}
	})
	// Forward 2 goes, 3 comes: everything of 1 stays, limits included.
	w.apply(t, gateWant(limited, toHome(3, "7000")), homeWant(mappings(netip.Addr{}, "5000", "7000")...))
	after := w.counters(t, w.gate).Forwards
	if _, stale := after[2]; stale || after[1].NewConnections != 1 || after[1].In.Packets < before.In.Packets {
		t.Errorf("after applying anew: %+v, before: %+v", after, before)
	}
	if got, err := ask(c); err != nil || got != visitors[0].String() {
		t.Errorf("the open connection: %q, %v", got, err)
	}
	w.check(t, []passage{{"the limit is still reached", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:5000", ""}})
}

func TestOnlyARemovedForwardsConnectionsAreCut(t *testing.T) {
	w := newWorld(t)
	home := homeWant(mappings(netip.Addr{}, "5000", "6000")...)
	w.apply(t, gateWant(toHome(1, "5000"), toHome(2, "6000")), home)
	serve(t, w.home, 5000)
	serve(t, w.home, 6000)
	var cut, kept []func() (string, error)
	everyWay(func(network string, visitor, public netip.Addr) {
		for port, list := range map[uint16]*[]func() (string, error){5000: &cut, 6000: &kept} {
			c, err := visit(t, w.internet, network, visitor, netip.AddrPortFrom(public, port))
			must(t, err)
			_, err = ask(c)
			must(t, err)
			*list = append(*list, func() (string, error) { return ask(c) })
		}
	})
	leave := gateWant(toHome(2, "6000"))
	leave.Gate.Input.Protect = false // so that the gate says no instead of nothing
	w.apply(t, leave)
	must(t, w.gate.Do(func() error { return firewall.DeleteForwards(defaultMarks, []uint32{1}, []uint32{2}) }))
	for i, again := range cut {
		if got, err := again(); err == nil {
			t.Errorf("connection %d of the removed forward still answers %q", i, got)
		}
	}
	for i, again := range kept {
		if _, err := again(); err != nil {
			t.Errorf("connection %d of the other forward: %v", i, err)
		}
	}
}

func TestARunningUDPSenderReachesANewForward(t *testing.T) {
	w := newWorld(t)
	serve(t, w.home, 5000)
	gate := gateWant()
	gate.Gate.Input.Protect = false
	w.apply(t, gate, homeWant(mappings(netip.Addr{}, "5000")...))
	silent := w.listen(t, 5000)
	for _, c := range []struct{ visitor, public netip.Addr }{{visitors[0], gatePublic4}, {visitors[2], gatePublic6}} {
		gate.Gate.Forwards = nil
		w.apply(t, gate)
		sender, err := visit(t, w.internet, "udp", c.visitor, netip.AddrPortFrom(c.public, 5000))
		must(t, err)
		_, err = sender.Write([]byte("?"))
		must(t, err)
		must(t, silent.SetDeadline(time.Now().Add(patience)))
		_, _, err = silent.ReadFrom(make([]byte, 10)) // the gate itself gets it
		must(t, err)
		gate.Gate.Forwards = []forward.Grant{toHome(1, "5000")}
		w.apply(t, gate)
		must(t, w.gate.Do(func() error {
			return firewall.DeleteUnforwarded(gate.Gate.Marks, forward.NewPortSet(ports("5000")...), gate.Gate.Public)
		}))
		if got, err := ask(sender); err != nil || got != c.visitor.String() {
			t.Errorf("after adding the forward the sender gets %q, %v", got, err)
		}
		// What is forwarded already is left alone.
		must(t, w.gate.Do(func() error {
			return firewall.DeleteUnforwarded(gate.Gate.Marks, forward.NewPortSet(ports("5000")...), gate.Gate.Public)
		}))
		if _, err := ask(sender); err != nil {
			t.Error(err)
		}
	}
}

func TestDeleteForwardsNeedsAMark(t *testing.T) {
	inside(t, netnstest.New(t, "marks"), func() {
		if firewall.DeleteForwards(defaultMarks, []uint32{1, 0}, nil) == nil || firewall.DeleteForwards(plan.Marks{}, []uint32{1}, nil) == nil {
			t.Error("it accepts what the kernel takes for every connection")
		}
		must(t, firewall.DeleteForwards(defaultMarks, []uint32{1}, nil))
		must(t, firewall.DeleteForwards(defaultMarks, nil, nil))
		must(t, firewall.DeleteUnforwarded(defaultMarks, forward.NewPortSet(ports("1-65535")...), []netip.Addr{gatePublic4}))
	})
}

// shell runs nft(8) in the namespace of this thread, as somebody else would.
func shell(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestDriftIsSeenAndFixed(t *testing.T) {
	f, want, ctx := open(t), fullGate(), context.Background()
	inside(t, netnstest.New(t, "drift"), func() {
		must(t, f.Apply(ctx, want))
		for _, c := range []struct {
			command string
			drift   string
		}{
			{"flush chain inet gatelodge0 gate_input", "chain gate_input has 0 rules instead of 11"},
			{"insert rule inet gatelodge0 gate_forward accept", "chain gate_forward has 6 rules instead of 5"},
			{"delete element inet gatelodge0 homes4 { tcp . 443 }", "set homes4 has 3 elements instead of 4"},
			{"delete element inet gatelodge0 f12_allow4 { 203.0.113.0/24 }", "set f12_allow4 has 0 elements instead of 1"},
			{"add element inet gatelodge0 tenants4 { 10.0.0.1 }", "set tenants4 has 3 elements instead of 2"},
			{"delete chain inet gatelodge0 mss_clamp", "chain mss_clamp is missing"},
			{"add chain inet gatelodge0 other", "chain other was added"},
			{"add set inet gatelodge0 other { type mark; }", "set other was added"},
			{"add counter inet gatelodge0 other", "counter other was added"},
		} {
			shell(t, c.command)
			seen := observe(t, f, want)
			if diff := cmp.Diff(plan.ObservedFirewall{Present: true, Current: true, Drift: []string{c.drift}}, seen); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", c.command, diff)
			}
			must(t, f.Apply(ctx, want))
			if seen := observe(t, f, want); len(seen.Drift) > 0 {
				t.Errorf("after the fix: %v", seen.Drift)
			}
		}
		if seen := observe(t, f, gateWant()); !seen.Present || seen.Current || seen.Drift != nil {
			t.Errorf("something else is wanted: %+v", seen)
		}
		shell(t, "flush ruleset")
		if seen := observe(t, f, want); seen.Present || seen.Current {
			t.Errorf("after a flush: %+v", seen)
		}
	})
}

func TestAnotherShapeIsReplaced(t *testing.T) {
	f, ctx := open(t), context.Background()
	inside(t, netnstest.New(t, "shape"), func() {
		// An older version's table: another hook, another type.
		shell(t, `table inet gatelodge0 {
			set tenants4 { type mark; }
			chain gate_input { type filter hook input priority 7; }
			chain loaded_0000000000000000_0000000000000000 {
			}
		}`)
		must(t, f.Apply(ctx, gateWant()))
		must(t, f.Apply(ctx, homeWant())) // another role
		if seen := observe(t, f, homeWant()); !seen.Current || seen.Drift != nil {
			t.Errorf("%+v", seen)
		}
		// The same, though its mark says that it has our shape.
		shell(t, "delete chain inet gatelodge0 way_out; add chain inet gatelodge0 way_out { type filter hook output priority 0; }")
		must(t, f.Apply(ctx, homeWant()))
		if seen := observe(t, f, homeWant()); !seen.Current || seen.Drift != nil {
			t.Errorf("%+v", seen)
		}
	})
}

func TestForeignTablesAreLeftAlone(t *testing.T) {
	f, ctx := open(t), context.Background()
	inside(t, netnstest.New(t, "foreign"), func() {
		shell(t, `table inet gatelodge0 { chain theirs { type filter hook input priority 0; }; }
			table inet other { set s { type mark; elements = { 1 }; }; }; table ip gatelodge0 { chain c { }; }`)
		before := shell(t, "list", "ruleset")
		_, observed := f.Observe(ctx, gateWant())
		for what, err := range map[string]error{"Apply": f.Apply(ctx, gateWant()), "Check": f.Check(ctx, gateWant()), "Remove": f.Remove(ctx, tableName), "Observe": observed} {
			if !errors.Is(err, firewall.ErrForeign) {
				t.Errorf("%s of a foreign table: %v", what, err)
			}
		}
		if diff := cmp.Diff(before, shell(t, "list", "ruleset")); diff != "" {
			t.Error(diff)
		}
		shell(t, "delete", "table", "inet", tableName)
		before = shell(t, "list", "ruleset")
		must(t, f.Apply(ctx, gateWant()))
		for range 2 {
			must(t, f.Remove(ctx, tableName))
		}
		if diff := cmp.Diff(before, shell(t, "list", "ruleset")); diff != "" {
			t.Errorf("after Remove:\n%s", diff)
		}
	})
}

func TestErrorsNameTheLine(t *testing.T) {
	f, want := open(t), gateWant()
	want.Table = "counter" // a word of nft's own
	inside(t, netnstest.New(t, "errors"), func() {
		err := f.Apply(context.Background(), want)
		var script *firewall.ScriptError
		if !errors.As(err, &script) || script.Line != 1 || script.Text != "table inet counter" || !strings.Contains(err.Error(), "syntax error") {
			t.Errorf("%v", err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.Apply(ended, gateWant()); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// listen receives what reaches a UDP port of the gate, and answers nothing.
func (w *world) listen(t *testing.T, port uint16) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	must(t, w.gate.Do(func() (err error) {
		c, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}
