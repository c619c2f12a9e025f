package foreign

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Leads returns, for each of the packets, where the translation of others leads
// it: a container, say, whose port an engine publishes at the packet's
// destination. It is the zero AddrPort where nobody translates the packet, or
// where that cannot be told, as with several targets of which one is drawn.
// Tables with one of the given names are ours.
func Leads(packets []Packet, ours ...string) ([]netip.AddrPort, error) {
	conn, err := netfilter.Open()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	r := &reader{conn: conn, chains: map[chainName]*chain{}, sets: map[setName]*set{}}
	bases, err := r.baseChains(ours)
	if err != nil {
		return nil, err
	}
	led := make([]netip.AddrPort, len(packets))
	for i, p := range packets {
		led[i] = r.lead(bases, p)
	}
	return led, nil
}

// lead takes a packet by the chains that translate destinations. The first that
// does so ends the matter.
func (r *reader) lead(bases []*nftables.Chain, p Packet) netip.AddrPort {
	for _, c := range bases {
		if c.Type != nftables.ChainTypeNAT || *c.Hooknum != numbers[Arrival] || !p.of(c.Table.Family) {
			continue
		}
		v := r.run(chainName{c.Table.Family, c.Table.Name, c.Name}, p, 0)
		if v.doubtful || v.kind == drop {
			return netip.AddrPort{}
		}
		if v.to.IsValid() {
			return v.to
		}
	}
	return netip.AddrPort{}
}

// ledTo is the verdict of a rule that changes the destination. Without a target
// that is known the packet ends somewhere else, and nobody can tell where.
func (m *match) ledTo(addr netip.Addr, port uint16) (verdict, bool) {
	to := netip.AddrPortFrom(addr.Unmap(), port)
	if !addr.IsValid() || port == 0 {
		return verdict{kind: accept, doubtful: true}, true
	}
	return verdict{kind: accept, to: to}, true
}

// dnat reads the target of nft(8)'s dnat: without an address, or without a port,
// that of the packet stays.
func (m *match) dnat(e *expr.NAT) (verdict, bool) {
	addr, port := m.packet.Dst, m.packet.Port
	if e.Prefix || severalOf(e.RegAddrMin, e.RegAddrMax) || severalOf(e.RegProtoMin, e.RegProtoMax) {
		return m.ledTo(netip.Addr{}, 0)
	}
	if e.RegAddrMin != 0 {
		addr, _ = netip.AddrFromSlice(m.regs[e.RegAddrMin])
	}
	if e.RegProtoMin != 0 {
		value := m.regs[e.RegProtoMin]
		if len(value) < 2 {
			return m.ledTo(netip.Addr{}, 0)
		}
		port = binary.BigEndian.Uint16(value)
	}
	return m.ledTo(addr, port)
}

// severalOf reports whether the ends of a range are in different registers.
func severalOf(first, last uint32) bool { return last != 0 && last != first }

// dnatTarget reads the target of iptables' DNAT, of each of its revisions.
func (m *match) dnatTarget(info xt.InfoAny) (verdict, bool) {
	var to xt.NatRange
	switch info := info.(type) {
	case *xt.NatRange:
		to = *info
	case *xt.NatRange2:
		to = info.NatRange
	case *xt.NatIPv4MultiRangeCompat:
		if len(*info) == 1 {
			to = xt.NatRange((*info)[0])
		}
	}
	const known = xt.NatRangeMapIPs | xt.NatRangeProtoSpecified | xt.NatRangePersistent | xt.NatRangeProtoRandomAll
	flags := xt.NatRangeFlags(to.Flags)
	addr, port := m.packet.Dst, m.packet.Port
	if flags == 0 || flags&^known != 0 {
		return m.ledTo(netip.Addr{}, 0)
	}
	if flags&xt.NatRangeMapIPs != 0 {
		addr = onlyAddr(to.MinIP, to.MaxIP)
	}
	if flags&xt.NatRangeProtoSpecified != 0 {
		port = onlyPort(to.MinPort, to.MaxPort)
	}
	return m.ledTo(addr, port)
}

func onlyAddr(first, last net.IP) netip.Addr {
	if !first.Equal(last) {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(first)
	return addr
}

func onlyPort(first, last uint16) uint16 {
	if first != last {
		return 0
	}
	return first
}
