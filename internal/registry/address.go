package registry

import (
	"encoding/binary"
	"net/netip"
)

// The host numbers of the gate and of the first home.
const (
	gateHost  = 1
	firstHome = 2
)

// Address4 returns the gate's own IPv4 address in the tunnel.
func (g Gate) Address4() netip.Addr { return host(g.Prefix4, gateHost) }

// Address6 returns the gate's own IPv6 address in the tunnel, or the zero
// Addr in a tunnel without IPv6.
func (g Gate) Address6() netip.Addr { return host(g.Prefix6, gateHost) }

// check refuses prefixes in which no home would find a place.
func (g Gate) check() error {
	if !g.Prefix4.Addr().Is4() || g.Prefix4.Bits() > 29 || g.Prefix4.Bits() < 8 {
		return refuse(UnusableTunnel, "the tunnel's IPv4 prefix is %v; choose one from /8 to /29, such as 10.99.0.0/24", g.Prefix4)
	}
	if p := g.Prefix6; p.IsValid() && (p.Addr().Is4() || p.Addr().Is4In6() || p.Bits() > 120) {
		return refuse(UnusableTunnel, "the tunnel's IPv6 prefix is %v; choose one of /120 or shorter, such as fd00:99::/64", p)
	}
	return nil
}

// lastHost is the highest host number that both prefixes have: in IPv4 the
// one before the broadcast address.
func (g Gate) lastHost() uint32 {
	last := uint32(1)<<(32-g.Prefix4.Bits()) - 2
	if bits := 128 - g.Prefix6.Bits(); g.Prefix6.IsValid() && bits < 32 {
		last = min(last, 1<<bits-1)
	}
	return last
}

// host returns the address with number n in the prefix, or the zero Addr if
// the prefix does not reach that far.
func host(p netip.Prefix, n uint32) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	b := p.Masked().Addr().AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)|n)
	addr, _ := netip.AddrFromSlice(b)
	if bits := addr.BitLen() - p.Bits(); bits < 32 && n>>bits != 0 {
		return netip.Addr{}
	}
	return addr
}

// freeHome returns the lowest addresses that nobody has. Both end in the same
// host number, so that an owner recognises one by the other.
func (s *State) freeHome(g Gate) (addr4, addr6 netip.Addr, err error) {
	used := addressesOf(s)
	for n := uint32(firstHome); n <= g.lastHost(); n++ {
		addr4, addr6 = host(g.Prefix4, n), host(g.Prefix6, n)
		if !used[addr4] && !used[addr6] {
			return addr4, addr6, nil
		}
	}
	return netip.Addr{}, netip.Addr{}, g.full()
}

// freeInvite returns the highest address that nobody has: invites come from
// the top, so that homes keep getting consecutive addresses from the bottom.
// It leaves one address for the home of every invite that is still unused:
// a home that was let in must find a place.
func (s *State) freeInvite(g Gate) (netip.Addr, error) {
	free := int(g.lastHost()) - gateHost - len(s.Homes) - len(s.Invites)
	for _, v := range s.Invites {
		if !v.Redeemed() {
			free--
		}
	}
	if free < 2 {
		return netip.Addr{}, g.full()
	}
	used := addressesOf(s)
	for n := g.lastHost(); n >= firstHome; n-- {
		if addr := host(g.Prefix4, n); !used[addr] {
			return addr, nil
		}
	}
	return netip.Addr{}, g.full()
}

func (g Gate) full() error {
	return refuse(Full, "the addresses of the tunnel's prefix %v are all taken; revoke homes or invites that are no longer needed (gatelodge gate homes)", g.Prefix4)
}

// addressesOf returns the valid addresses that homes and invites have.
func addressesOf(s *State) map[netip.Addr]bool {
	used := make(map[netip.Addr]bool)
	for _, h := range s.Homes {
		used[h.Address4] = true
		used[h.Address6] = true
	}
	for _, v := range s.Invites {
		used[v.Address4] = true
	}
	delete(used, netip.Addr{})
	return used
}
