package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// OthersDrop is a verdict of another firewall of this machine that drops what
// ours lets through.
type OthersDrop = foreign.Drop

// Deed is what another firewall does to a packet.
type Deed = foreign.Deed

// Remedy lets packets of ours through another firewall, by its own door.
type Remedy = remedy.Remedy

// ParseRemedy returns the remedy that a command carries out, if it is of one of
// their forms, no matter who wrote it.
func ParseRemedy(command string) (Remedy, bool) { return remedy.Parse(command) }

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
		packets = homePackets(*want.Firewall.Home, facts)
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

// LegacyTables names the tables of iptables-legacy(8) that stand here: nft(8) does
// not show them.
func LegacyTables() ([]string, error) { return foreign.LegacyTables() }

// Tracing is a look at what becomes of a visitor's packets.
type Tracing interface {
	// End stops looking. It returns the ports for which packets have arrived, what
	// of others has dropped some of them, and the ports of those that our own table
	// has dropped.
	End(ctx context.Context) (arrived []uint16, drops []OthersDrop, byUs []uint16, err error)
}

// tracing is one by the kernel's own trace.
type tracing struct {
	trace *foreign.Trace
	end   func(context.Context) error
	like  foreign.Packet
	table string // ours
}

// TraceVisits begins to look at the first packets of TCP connections that come
// from an address to this gate, until End. The firewall may be applied
// meanwhile; there is one trace at a time.
func (h *Host) TraceVisits(ctx context.Context, g plan.GateFirewall, table string, from netip.Addr) (Tracing, error) {
	trace, err := foreign.Hear()
	if err != nil {
		return nil, err
	}
	end, err := h.firewall.Trace(ctx, table, from)
	if err != nil {
		return nil, errors.Join(err, trace.Close())
	}
	like := foreign.Packet{Hook: foreign.Forward, Tunnel: g.Interface, Protocol: unix.IPPROTO_TCP, IPv6: from.Is6(), Mark: g.Marks.AcceptedBit, Priority: ourPriority}
	return &tracing{trace, end, like, table}, nil
}

// End implements Tracing.
func (t *tracing) End(ctx context.Context) (arrived []uint16, drops []OthersDrop, byUs []uint16, err error) {
	endErr := t.end(context.WithoutCancel(ctx))
	arrived, all, err := t.trace.End(ctx, t.like)
	for _, d := range all {
		if d.Family == "inet" && d.Table == t.table {
			byUs = append(byUs, d.Packet.Port)
			continue
		}
		drops = append(drops, d)
	}
	return arrived, drops, byUs, errors.Join(endErr, err)
}

// RulesGeneration is another number after each change of the machine's rules,
// by anybody.
func RulesGeneration() (uint32, error) { return netfilter.Generation() }
