package served

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// At returns those of the gate's addresses at which a forward is answered,
// all if nothing is yet.
func At(public []netip.Addr, answers []Port) []netip.Addr {
	ipv4 := slices.ContainsFunc(answers, func(a Port) bool { return a.ipv4 })
	ipv6 := slices.ContainsFunc(answers, func(a Port) bool { return a.ipv6 })
	if !ipv4 && !ipv6 {
		return public
	}
	return slices.DeleteFunc(slices.Clone(public), func(p netip.Addr) bool { return p.Is4() && !ipv4 || p.Is6() && !ipv6 })
}

// Notes says which visitors will find nobody, and what helps. A port of
// which only TCP or only UDP is served is as it should be.
func Notes(name string, public []netip.Addr, answers []Port) []string {
	var notes []string
	for i, a := range answers {
		// The other protocol is served, or has said so already.
		same := func(o Port) bool { return o.mapping.Public.Range == a.mapping.Public.Range }
		served := slices.ContainsFunc(answers, func(o Port) bool { return same(o) && o.any() })
		if !a.any() && (served || slices.ContainsFunc(answers[:i], same)) {
			continue
		}
		if note := a.note(name, public); note != "" {
			notes = append(notes, a.mapping.Public.String()+": "+note)
		}
	}
	return notes
}

func (a Port) note(name string, public []netip.Addr) string {
	lacks := slices.DeleteFunc(slices.Clone(public), func(p netip.Addr) bool { return p.Is4() && a.ipv4 || p.Is6() && a.ipv6 })
	switch {
	case len(lacks) == 0:
		return ""
	case a.ipv4:
		return fmt.Sprintf("the service answers by IPv4 only, and visitors who come to %s are refused: have it listen on [::] as well, or publish no AAAA record", joinAddrs(lacks))
	case a.ipv6:
		return fmt.Sprintf("the service answers by IPv6 only, and visitors who come to %s are refused: have it listen on 0.0.0.0 as well", joinAddrs(lacks))
	case a.elsewhere.IsValid():
		return fmt.Sprintf("it is published at %s only, by a container engine or the like, and visitors come to this machine's address in the tunnel: gatelodge unexpose %s, then gatelodge expose %s --to %[1]s --name %[2]s",
			a.elsewhere, name, a.mapping)
	case len(a.apart) == 0:
		return "nothing seems to listen there on this machine: visitors are refused until a service does"
	}
	b := a.apart[0]
	switch {
	case b.Interface != "":
		return fmt.Sprintf("the service is bound to the interface %s, and visitors come by the tunnel's: have it listen on all interfaces", b.Interface)
	case b.At.Addr().IsLoopback():
		return fmt.Sprintf("the service listens on %s only, where no visitor arrives: have it listen on 0.0.0.0 and [::]", b.At.Addr())
	}
	return fmt.Sprintf("the service listens on %s only, and visitors come to this machine's address in the tunnel: gatelodge unexpose %s, then gatelodge expose %s --to %[1]s --name %[2]s; or have it listen on all addresses",
		b.At.Addr(), name, a.mapping)
}

func joinAddrs(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(text, ", ")
}
