package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// OthersDrop is a verdict of another firewall of this machine that drops what
// ours lets through.
type OthersDrop = foreign.Drop

// Remedy lets packets of ours through another firewall, by its own door.
type Remedy = foreign.Remedy

// ourPriority is that of our chains that filter; others see our mark after it.
const ourPriority = -5

// mostAsked bounds for how many forwards others' rules are asked: a firewall
// that stops one of them commonly stops them all.
const mostAsked = 16

// OthersDrops reads what the other firewalls of this machine would do to the
// packets of the wanted state, and returns what they drop.
func OthersDrops(ctx context.Context, want plan.State, facts plan.Facts) ([]OthersDrop, error) {
	var packets []foreign.Packet
	if want.Firewall.Gate != nil {
		packets = gatePackets(*want.Firewall.Gate, facts)
	} else {
		packets = homePackets(*want.Firewall.Home)
	}
	return foreign.Find(ctx, packets, want.Firewall.Table, firewall.GuardTable(want.Firewall.Table))
}

// SavedGuards returns, in words, what is wrong where files that this machine
// loads its ruleset from hold a copy of our guard.
func SavedGuards(table string) []string {
	var problems []string
	for _, place := range firewall.SavedGuards("/", table) {
		problems = append(problems, fmt.Sprintf("%s is a copy of a table that only the daemon may change, so that file cannot be loaded while it runs (Operation not permitted); delete the tables inet %s and inet %s from it",
			place, firewall.GuardTable(table), table))
	}
	return problems
}

// LegacyFilters returns the modules of tables that drop packets outside of
// nftables, where their rules cannot be read: those of iptables-legacy(8).
func LegacyFilters() ([]string, error) {
	loaded, err := os.ReadFile("/proc/modules")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without modules
	}
	var found []string
	for line := range strings.Lines(string(loaded)) {
		name, _, _ := strings.Cut(line, " ")
		if slices.Contains([]string{"iptable_filter", "ip6table_filter", "iptable_raw", "iptable_mangle"}, name) {
			found = append(found, name)
		}
	}
	return found, err
}

// Tracing is a look at what becomes of a visitor's packets.
type Tracing struct {
	trace *foreign.Trace
	end   func(context.Context) error
	like  foreign.Packet
}

// TraceVisits begins to look at the first packets of TCP connections that come
// from an address to this gate. A caller must keep the firewall from being
// applied until End.
func (h *Host) TraceVisits(ctx context.Context, g plan.GateFirewall, table string, from netip.Addr) (*Tracing, error) {
	trace, err := foreign.Hear()
	if err != nil {
		return nil, err
	}
	end, err := h.firewall.Trace(ctx, table, from)
	if err != nil {
		return nil, errors.Join(err, trace.Close())
	}
	like := foreign.Packet{Hook: foreign.Forward, Tunnel: g.Interface, Protocol: unix.IPPROTO_TCP, IPv6: from.Is6(), Mark: g.Marks.AcceptedBit, Priority: ourPriority}
	return &Tracing{trace, end, like}, nil
}

// End stops looking. It returns the ports for which packets have arrived, and
// what has dropped some of them.
func (t *Tracing) End(ctx context.Context) (arrived []uint16, drops []OthersDrop, err error) {
	endErr := t.end(context.WithoutCancel(ctx))
	arrived, drops, err = t.trace.End(ctx, t.like)
	return arrived, drops, errors.Join(endErr, err)
}

// RulesGeneration is another number after each change of the machine's rules,
// by whomever.
func RulesGeneration() (uint32, error) { return routing.Generation() }

// outside is the interface that leads to the internet.
func outside(facts plan.Facts) string {
	for _, n := range facts.Networks {
		if n.Default {
			return n.Interface
		}
	}
	return ""
}

// gatePackets are what has to get through on a gate: visitors and their
// answers, WireGuard, and the control channel.
func gatePackets(g plan.GateFirewall, facts plan.Facts) []foreign.Packet {
	base := foreign.Packet{Tunnel: g.Interface, Mark: g.Marks.AcceptedBit, Priority: ourPriority}
	wan := outside(facts)
	var packets []foreign.Packet
	for _, v6 := range []bool{false, true} {
		if !serves(g, v6) {
			continue
		}
		p := base
		p.IPv6, p.Hook = v6, foreign.Input
		wireguard, control := p, p
		wireguard.What, wireguard.In, wireguard.Protocol, wireguard.Port = "WireGuard's packets", wan, unix.IPPROTO_UDP, g.ListenPort
		control.What, control.In, control.Protocol, control.Port = "the control channel of homes", g.Interface, unix.IPPROTO_TCP, g.ControlPort
		packets = append(packets, wireguard)
		if !v6 {
			packets = append(packets, control)
		}
		for _, f := range g.Forwards[:min(len(g.Forwards), mostAsked)] {
			packets = append(packets, visitorPackets(p, f, wan)...)
		}
	}
	return packets
}

func serves(g plan.GateFirewall, v6 bool) bool {
	for _, a := range g.Public {
		if a.Is6() == v6 {
			return true
		}
	}
	return false
}

// visitorPackets are a visitor's first packet and the answers to him.
func visitorPackets(p foreign.Packet, f plan.GateForward, wan string) []foreign.Packet {
	target := f.Target4
	if p.IPv6 {
		target = f.Target6
	}
	if len(f.Ports) == 0 || !target.IsValid() {
		return nil
	}
	p.Hook, p.DNAT, p.Protocol, p.Port = foreign.Forward, true, ipProtocol(f.Ports[0].Protocol), f.Ports[0].Range.First
	p.What = fmt.Sprintf("what visitors of %s send", f.Ports[0])
	p.In, p.Out = wan, p.Tunnel
	answer := p
	answer.What, answer.In, answer.Out, answer.Answer = fmt.Sprintf("the answers to visitors of %s", f.Ports[0]), p.Tunnel, wan, true
	return []foreign.Packet{p, answer}
}

func ipProtocol(p forward.Protocol) uint8 {
	if p == forward.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// homePackets are what has to get through at home: what comes by the tunnel for
// each forward, to this machine or to another device.
func homePackets(h plan.HomeFirewall) []foreign.Packet {
	var packets []foreign.Packet
	for _, f := range h.Forwards[:min(len(h.Forwards), mostAsked)] {
		p := foreign.Packet{
			What: fmt.Sprintf("what visitors of %s send", f.Mapping),
			Hook: foreign.Input, In: h.Interface, Tunnel: h.Interface, Mark: h.Marks.AcceptedBit, Priority: ourPriority,
			Protocol: ipProtocol(f.Mapping.Public.Protocol), Port: f.Mapping.Local.First, IPv6: !f.Families.IPv4,
		}
		if f.To.IsValid() {
			p.Hook, p.DNAT, p.IPv6 = foreign.Forward, true, f.To.Is6()
		}
		packets = append(packets, p)
	}
	return packets
}
