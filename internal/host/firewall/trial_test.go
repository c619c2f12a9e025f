package firewall_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// A policy on trial ends by itself: nothing of ours runs when it does.
func TestTheKernelRevertsAPolicy(t *testing.T) {
	w := newWorld(t)
	before := gateWant()
	before.Gate.Input.Accept = ports("8443/tcp")
	w.apply(t, before)
	open := passage{"open before", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:8443", "gate tcp 198.51.100.2:8443"}
	other := passage{"opened by the new one", w.internet, "eth0", udp, "203.0.113.10", "198.51.100.2:53", "gate udp 198.51.100.2:53"}
	ssh := passage{"ssh", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:22", "gate tcp 198.51.100.2:22"}
	shut := func(p passage) passage { p.end = ""; return p }
	w.check(t, []passage{open, shut(other), ssh})

	trial := before
	gate := *before.Gate
	trial.Gate = &gate
	gate.Trial = &plan.Trial{Number: 1, Policy: plan.InputPolicy{Protect: true, Accept: ports("53/udp")}, Left: time.Hour}
	w.apply(t, trial)
	w.check(t, []passage{shut(open), other, ssh})

	// Loading the table again prolongs nothing.
	w.apply(t, before)
	gate.Trial.Left = 1500 * time.Millisecond
	w.apply(t, trial)
	gate.Forwards = []forward.Grant{toHome(1, "5000")}
	gate.Trial.Left = time.Hour
	w.apply(t, trial)
	eventually(t, "the trial has ended", func() (ended bool) {
		inside(t, w.gate, func() { ended = !strings.Contains(shell(t, "list", "set", "inet", tableName, "trial_1"), "expires") })
		return ended
	})
	w.check(t, []passage{open, shut(other), ssh})
}
