package foreign

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// firstLegacy returns the first deed of iptables-legacy's rules that is certain.
func firstLegacy(tables []legacyChains, p Packet) (Drop, bool) {
	for _, t := range tables {
		base, has := t.bases[p.Hook]
		if !has || p.IPv6 != (t.family == "ip6") || t.name == "nat" && (p.Hook != Leaving || p.Answer) || t.name == "nat" && p.Settled && t.priority >= p.SettledAt {
			continue
		}
		p := p.at(t.priority)
		v := t.walk(base, p)
		if deed, does := v.deed(); does {
			return Drop{Packet: p, Deed: deed, Family: t.family, Table: t.name, Base: base, Chain: v.chain, Rule: v.rule, Legacy: true, Owner: t.owner(v.chain)}, true
		}
	}
	return Drop{}, false
}

// owner tells whose a rule of iptables-legacy is, by the names around it.
func (t legacyChains) owner(chain string) string {
	has := func(prefix string) bool {
		for name := range t.rules {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasPrefix(chain, "f2b-"):
		return fail2ban
	case has("ufw-") || has("ufw6-"):
		return ufw
	case chain == "FORWARD" && has("DOCKER-USER"):
		return docker
	}
	return legacy
}

func (t legacyChains) walk(base string, p Packet) verdict {
	v := t.run(base, p, 0)
	if v.kind == pass && t.policies[base] {
		return verdict{kind: drop, chain: base, doubtful: v.doubtful}
	}
	return v
}

// run takes the packet through a chain.
func (t legacyChains) run(chain string, p Packet, depth int) verdict {
	rules := t.rules[chain]
	if len(rules) > mostRules || depth > maxDepth {
		return verdict{kind: pass, doubtful: true}
	}
	l := layout4
	if t.family == "ip6" {
		l = layout6
	}
	return follow(rules, func(r legacyRule) (verdict, truth) {
		v, match := t.apply(r, l, p, depth)
		if v.kind >= drop && v.rule == "" {
			v.chain, v.rule = chain, r.text
		}
		return v, match
	})
}

// apply takes the packet through one rule.
func (t legacyChains) apply(r legacyRule, l layout, p Packet, depth int) (verdict, truth) {
	m := &match{packet: p, truth: r.fits(l, p)}
	for _, e := range r.matches {
		m.and(m.extension(e))
	}
	if m.truth == no {
		return verdict{}, no
	}
	if r.target.Name != "" {
		v, _ := m.target(r.target)
		return v, m.truth
	}
	return t.standard(r, l, p, depth), m.truth
}

// standard carries out a verdict, or goes to another chain.
func (t legacyChains) standard(r legacyRule, l layout, p Packet, depth int) verdict {
	switch r.verdict {
	case legacyDrop:
		return verdict{kind: drop}
	case legacyAccept:
		return verdict{kind: accept}
	case legacyReturn:
		return verdict{kind: pass, chain: returned}
	}
	if r.verdict < 0 {
		return verdict{kind: accept} // to a program: it may let the packet pass
	}
	chain, known := t.starts[uint32(r.verdict)]
	if !known {
		return verdict{kind: pass} // to the next rule: there is no target
	}
	v := t.run(chain, p, depth+1)
	if v.kind == pass && r.goes(l) {
		v.chain = returned
	}
	return v
}

// fits compares the packet with what every rule of iptables has.
func (r legacyRule) fits(l layout, p Packet) truth {
	result := yes
	add := func(what byte, t truth) { result = min(result, inverted(t, r.inverts(l, what))) }
	if protocol := r.protocolOf(l); protocol != 0 {
		add(notProtocol, is(protocol == p.Protocol))
	}
	if _, has := r.address(l, false); has {
		add(notSource, maybe)
	}
	if to, has := r.address(l, true); has {
		add(notDestination, within(to.Contains(p.Dst), p.Dst.IsValid()))
	}
	for what, side := range map[byte]struct {
		out  bool
		name string
	}{notIn: {false, p.In}, notOut: {true, p.Out}} {
		if name, whole, has := r.name(l, side.out); has {
			same := side.name == name || !whole && strings.HasPrefix(side.name, name)
			add(what, within(same, side.name != ""))
		}
	}
	return result
}

// within is whether something holds, if that is known.
func within(holds, known bool) truth {
	if !known {
		return maybe
	}
	return is(holds)
}

// multiport is struct xt_multiport_v1: which ports are meant, how many there are,
// fifteen of them, which of those begin a range, and whether it is turned round.
func (m *match) multiport(info []byte) truth {
	const most, size = 15, 2 + 2*15 + 15 + 1
	const destination, either = 1, 2
	if len(info) < size || info[0] == either || m.packet.Answer == (info[0] == destination) {
		return maybe
	}
	if m.packet.Protocol != unix.IPPROTO_TCP && m.packet.Protocol != unix.IPPROTO_UDP {
		return no
	}
	port := func(i int) uint16 { return binary.NativeEndian.Uint16(info[2+2*i:]) }
	begins := info[2+2*most:]
	found := false
	for i := 0; i < min(int(info[1]), most); i++ {
		if begins[i] == 0 {
			found = found || port(i) == m.packet.Port
			continue
		}
		if i+1 < most {
			found = found || port(i) <= m.packet.Port && m.packet.Port <= port(i+1)
		}
		i++
	}
	return inverted(is(found), info[size-1] != 0)
}
