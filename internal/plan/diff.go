package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Diff returns the steps that lead from the observed state to the wanted
// one, in the order in which they are safe to make: what filters comes before
// what connects, and forwarding is switched on last. It returns none when
// nothing differs.
func Diff(observed Observed, wanted State) []Step {
	var changes []Step
	changes = append(changes, diffFirewall(observed.Firewall, wanted.Firewall)...)
	changes = append(changes, diffWireGuard(observed.WireGuard, wanted.WireGuard)...)
	changes = append(changes, diffRouting(observed.Routing, wanted.Routing)...)
	return changes
}

// diffFirewall has the guard follow the table, which sets what it asks for.
func diffFirewall(observed ObservedFirewall, wanted Firewall) []Step {
	var changes []Step
	if reasons := tableReasons(observed); len(reasons) > 0 {
		changes = append(changes, LoadFirewall{Table: wanted.Table, Reasons: reasons})
	}
	if len(observed.Guard) > 0 {
		changes = append(changes, RaiseGuard{Table: wanted.Table, Reasons: observed.Guard})
	}
	return changes
}

func tableReasons(observed ObservedFirewall) []string {
	switch {
	case !observed.Present:
		return []string{"the table is missing"}
	case !observed.Current:
		return []string{"its contents have changed"}
	default:
		return observed.Drift
	}
}

func diffWireGuard(observed ObservedWireGuard, wanted WireGuard) []Step {
	reasons := deviceReasons(observed, wanted)
	if observed.Present {
		reasons = append(reasons, peerReasons(observed.Peers, wanted.Peers)...)
	}
	if len(reasons) == 0 {
		return nil
	}
	return []Step{ConfigureWireGuard{Interface: wanted.Interface, Reasons: reasons, Missing: !observed.Present}}
}

func deviceReasons(observed ObservedWireGuard, wanted WireGuard) []string {
	if !observed.Present {
		return []string{fmt.Sprintf("it is missing; %s", peers(len(wanted.Peers)))}
	}
	var reasons []string
	if observed.PublicKey != wanted.PrivateKey.Public() {
		reasons = append(reasons, "its key differs")
	}
	if wanted.ListenPort != 0 && observed.ListenPort != wanted.ListenPort {
		reasons = append(reasons, fmt.Sprintf("listen port %d, wanted %d", observed.ListenPort, wanted.ListenPort))
	}
	if observed.FirewallMark != wanted.FirewallMark {
		reasons = append(reasons, fmt.Sprintf("fwmark %#x, wanted %#x", observed.FirewallMark, wanted.FirewallMark))
	}
	return reasons
}

func peers(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}

func peerReasons(observed []ObservedPeer, wanted []Peer) []string {
	var reasons []string
	for _, w := range wanted {
		i := slices.IndexFunc(observed, func(o ObservedPeer) bool { return o.PublicKey == w.PublicKey })
		switch {
		case i < 0:
			reasons = append(reasons, "add peer "+w.PublicKey.Short())
		case !samePeer(observed[i], w):
			reasons = append(reasons, "change peer "+w.PublicKey.Short())
		}
	}
	for _, o := range observed {
		if !slices.ContainsFunc(wanted, func(w Peer) bool { return w.PublicKey == o.PublicKey }) {
			reasons = append(reasons, "remove peer "+o.PublicKey.Short())
		}
	}
	return reasons
}

// samePeer leaves out an endpoint that the device knows: peers roam, and what
// the device has learned is newer than what we remember.
func samePeer(o ObservedPeer, w Peer) bool {
	return o.PersistentKeepalive == w.PersistentKeepalive &&
		samePrefixes(o.AllowedIPs, w.AllowedIPs) &&
		(o.Endpoint.IsValid() || !w.Endpoint.IsValid())
}

func samePrefixes(a, b []netip.Prefix) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(p netip.Prefix) bool { return !slices.Contains(b, p) })
}

func diffRouting(observed ObservedRouting, wanted Routing) []Step {
	changes := diffLink(observed, wanted)
	add, remove := difference(observed.Addresses, wanted.Addresses)
	for _, a := range add {
		changes = append(changes, AddAddress{wanted.Interface, a})
	}
	for _, a := range remove {
		changes = append(changes, DeleteAddress{wanted.Interface, a})
	}
	addRoutes, removeRoutes := difference(observed.Routes, wanted.Routes)
	for _, r := range addRoutes {
		changes = append(changes, AddRoute{r})
	}
	for _, r := range removeRoutes {
		changes = append(changes, DeleteRoute{r})
	}
	// Rules are added before others are deleted: there is never a moment
	// without any.
	addRules, removeRules := difference(observed.Rules, wanted.Rules)
	for _, r := range addRules {
		changes = append(changes, AddRule{r})
	}
	for _, r := range removeRules {
		changes = append(changes, DeleteRule{r})
	}
	return withoutImplied(append(changes, diffSysctls(observed.Sysctls, wanted)...))
}

// withoutImplied leaves out forwarding of single interfaces where it is about to
// be switched on for all: the kernel then sets each as well.
func withoutImplied(changes []Step) []Step {
	isForAll := func(c Step) bool { set, ok := c.(SetSysctl); return ok && set.Sysctl.Name == ipForward }
	if !slices.ContainsFunc(changes, isForAll) {
		return changes
	}
	return slices.DeleteFunc(changes, func(c Step) bool {
		set, ok := c.(SetSysctl)
		return ok && strings.HasPrefix(set.Sysctl.Name, "net.ipv4.conf.") && strings.HasSuffix(set.Sysctl.Name, ".forwarding")
	})
}

// diffLink also sets what must precede addresses: IPv6 may be off by default
// for new interfaces.
func diffLink(observed ObservedRouting, wanted Routing) []Step {
	var changes []Step
	if !observed.LinkUp || observed.MTU != wanted.MTU {
		changes = append(changes, SetLink{wanted.Interface, wanted.MTU})
	}
	return append(changes, sysctlChanges(observed.Sysctls, wanted, true)...)
}

func diffSysctls(observed []Sysctl, wanted Routing) []Step {
	return sysctlChanges(observed, wanted, false)
}

func sysctlChanges(observed []Sysctl, wanted Routing, ofTunnel bool) []Step {
	var changes []Step
	for _, w := range wanted.Sysctls {
		if w.OfInterface(wanted.Interface) != ofTunnel {
			continue
		}
		i := slices.IndexFunc(observed, func(o Sysctl) bool { return o.Name == w.Name })
		previous := "not there yet"
		if i >= 0 {
			previous = observed[i].Value
		}
		if previous != w.Value {
			changes = append(changes, SetSysctl{w, previous})
		}
	}
	return changes
}

// difference returns what wanted has and observed has not, and the reverse.
func difference[T comparable](observed, wanted []T) (add, remove []T) {
	for _, w := range wanted {
		if !slices.Contains(observed, w) {
			add = append(add, w)
		}
	}
	for _, o := range observed {
		if !slices.Contains(wanted, o) {
			remove = append(remove, o)
		}
	}
	return add, remove
}
