package config

import (
	"fmt"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// check judges what no single key can be judged by.
func (d *homeDecoder) check() {
	taken := claims{}
	for _, f := range d.forwards {
		d.checkOverlap(f, taken)
		d.checkAllow(f)
	}
	d.checkBounds()
}

// checkBounds finds what a gate would not take, whatever its policy.
func (d *homeDecoder) checkBounds() {
	d.bounded(d.place(&d.forwards), forward.CheckCount(len(d.forwards)), "")
	list := make([]forward.Published, len(d.forwards))
	for i, f := range d.forwards {
		list[i] = f.finish().Published()
		list[i].Ports = forward.NewPortSet(list[i].Ports...) // as they travel
		if n := len(list[i].Ports); n > 0 {
			d.bounded(d.place(&f.mappings), forward.CheckPortCount(n), "write ranges, such as 8000-8999/tcp, name the protocol, or make two forwards of it")
		}
		d.bounded(d.place(&f.allow), forward.CheckAllowCount(len(f.allow)), "join them into larger prefixes, or make two forwards of it")
	}
	if len(d.errs) == 0 {
		d.bounded(d.place(&d.forwards), forward.CheckSize(list), "")
	}
}

// bounded reports an error that a bound of the forwards has given.
func (d *homeDecoder) bounded(at int, err error, hint string) {
	if err != nil && !d.full() {
		d.add(at, problem{err.Error(), hint})
	}
}

// claim is who has a public port.
type claim struct {
	forward *draft
	at      int
}

// claims has the owner of every public port.
type claims map[forward.Protocol]*[65536]*claim

// holder returns the first of the ports that has an owner, and its owner.
func (c claims) holder(p forward.Ports) (uint16, *claim) {
	owners := c[p.Protocol]
	if owners == nil {
		return 0, nil
	}
	for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
		if owners[port] != nil {
			return uint16(port), owners[port]
		}
	}
	return 0, nil
}

func (c claims) take(p forward.Ports, by *claim) {
	if c[p.Protocol] == nil {
		c[p.Protocol] = new([65536]*claim)
	}
	for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
		c[p.Protocol][port] = by
	}
}

// checkOverlap sees to it that a public port leads to one place.
func (d *homeDecoder) checkOverlap(f *draft, taken claims) {
	for _, entry := range f.mappings {
		for _, m := range entry.value {
			if d.full() {
				return
			}
			port, holder := taken.holder(m.Public)
			if holder == nil {
				taken.take(m.Public, &claim{f, entry.at})
				continue
			}
			who := fmt.Sprintf("taken by forward %q", holder.forward.name)
			if holder.forward == f {
				who = "listed in this forward already"
			}
			d.addf(entry.at, "%s is %s (%s)", one(m.Public.Protocol, port), who, d.src.place(holder.at))
		}
	}
}

// checkAllow finds lists of visitors that nobody can be on.
func (d *homeDecoder) checkAllow(f *draft) {
	unique(d.decoder, "allow", f.allow)
	if len(f.allow) == 0 {
		return
	}
	at := d.place(&f.allow)
	families := forward.Forward{To: f.to}.Families()
	reachable, public := false, false
	for _, p := range f.allow {
		is4 := p.value.Addr().Is4()
		reachable = reachable || is4 && families.IPv4 || !is4 && families.IPv6
		public = public || !isPrivate(p.value)
	}
	// A masquerading gate shows home its own address, not a private one.
	masked := f.source == forward.Masquerade && !f.to.IsValid()
	switch {
	case !reachable:
		d.add(at, problem{
			fmt.Sprintf("nobody could come in: allow has no %s, and the target %s is reached by %s only", families, f.to, families),
			"allow addresses of the target's family, or change to",
		})
	case !public && !masked && d.home.Firewall.DropPrivate:
		d.add(at, problem{
			"nobody could come in: allow has private addresses only, and those are dropped",
			`set private_sources = "accept" in [firewall]`,
		})
	}
}

// isPrivate reports whether all of the prefix is for private use.
func isPrivate(p netip.Prefix) bool {
	for _, private := range []struct {
		first [4]byte
		bits  int
	}{{[4]byte{10}, 8}, {[4]byte{172, 16}, 12}, {[4]byte{192, 168}, 16}} {
		q := netip.PrefixFrom(netip.AddrFrom4(private.first), private.bits)
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
	}
	return p.Addr().Is6() && p.Bits() >= 7 && p.Addr().IsPrivate()
}
