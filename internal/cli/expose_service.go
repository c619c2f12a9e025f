package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/status"
)

// answer is who answers the visitors of one mapping on this host. A range has an
// answer if one of its ports has.
type answer struct {
	mapping    forward.Mapping
	ipv4, ipv6 bool
	apart      []host.Binding // that wait at the ports where no visitor comes
	elsewhere  netip.Addr     // of this machine, where others publish it; zero: none
}

// services finds out who answers visitors of a forward to this host.
func services(ctx context.Context, f config.NewForward, t status.Tunnel) ([]answer, error) {
	bindings, err := host.Bindings()
	if err != nil {
		return nil, err
	}
	var answers []answer
	for _, p := range f.Ports {
		mappings, err := forward.ParseMapping(p)
		if err != nil {
			return nil, err
		}
		for _, m := range mappings {
			a := answerOf(m, bindings, t)
			if !a.any() {
				a.dial(ctx, t)
			}
			if !a.any() {
				a.ask(t)
			}
			answers = append(answers, a)
		}
	}
	return answers, nil
}

// answerOf judges by what the sockets of this machine are bound to. Visitors come
// by the tunnel, to this machine's addresses in it.
func answerOf(m forward.Mapping, bindings []host.Binding, t status.Tunnel) answer {
	a := answer{mapping: m}
	for _, b := range bindings {
		if b.Protocol != m.Public.Protocol || b.At.Port() < m.Local.First || b.At.Port() > m.Local.Last {
			continue
		}
		taken := false
		for _, own := range t.Addresses {
			if b.Takes(own, t.Interface) {
				taken = true
				a.ipv4, a.ipv6 = a.ipv4 || own.Is4(), a.ipv6 || own.Is6()
			}
		}
		if !taken {
			a.apart = append(a.apart, b)
		}
	}
	return a
}

// any reports whether there is any socket at all.
func (a answer) any() bool { return a.ipv4 || a.ipv6 || len(a.apart) > 0 }

// dialTime is how long this machine may take to answer itself.
const dialTime = time.Second

// dial tries a port for which this machine has no socket: that of a container may
// be one of the firewall's rules alone. UDP cannot be tried so.
func (a *answer) dial(ctx context.Context, t status.Tunnel) {
	if a.mapping.Public.Protocol != forward.TCP || a.mapping.Local.Len() > 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	for _, own := range t.Addresses {
		at := net.JoinHostPort(own.String(), strconv.Itoa(int(a.mapping.Local.First)))
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
		if err != nil {
			continue
		}
		_ = c.Close() // it was there
		a.ipv4, a.ipv6 = a.ipv4 || own.Is4(), a.ipv6 || own.Is6()
	}
}

// ask looks in the rules of others for who publishes the port. Who may not read
// them learns what the sockets have told.
func (a *answer) ask(t status.Tunnel) {
	at, err := host.PublishedAt(a.mapping, t.Interface)
	if err != nil {
		return
	}
	for _, own := range at {
		if slices.Contains(t.Addresses, own) {
			a.ipv4, a.ipv6 = a.ipv4 || own.Is4(), a.ipv6 || own.Is6()
		} else if !a.elsewhere.IsValid() {
			a.elsewhere = own
		}
	}
}

// answered returns those of the gate's addresses at which a forward is answered,
// all if nothing is yet.
func answered(public []netip.Addr, answers []answer) []netip.Addr {
	ipv4 := slices.ContainsFunc(answers, func(a answer) bool { return a.ipv4 })
	ipv6 := slices.ContainsFunc(answers, func(a answer) bool { return a.ipv6 })
	if !ipv4 && !ipv6 {
		return public
	}
	return slices.DeleteFunc(slices.Clone(public), func(p netip.Addr) bool { return p.Is4() && !ipv4 || p.Is6() && !ipv6 })
}

// serviceNotes says which visitors will find nobody, and what helps. A port of
// which only TCP or only UDP is served is as it should be.
func serviceNotes(name string, public []netip.Addr, answers []answer) []string {
	var notes []string
	for i, a := range answers {
		// The other protocol is served, or has said so already.
		same := func(o answer) bool { return o.mapping.Public.Range == a.mapping.Public.Range }
		served := slices.ContainsFunc(answers, func(o answer) bool { return same(o) && o.any() })
		if !a.any() && (served || slices.ContainsFunc(answers[:i], same)) {
			continue
		}
		if note := a.note(name, public); note != "" {
			notes = append(notes, a.mapping.Public.String()+": "+note)
		}
	}
	return notes
}

func (a answer) note(name string, public []netip.Addr) string {
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
		return "nothing listens there on this machine, as far as can be seen: visitors are refused until a service does"
	}
	b := a.apart[0]
	switch {
	case b.Interface != "":
		return fmt.Sprintf("the service is bound to the interface %s, and visitors come by the tunnel's: have it listen on all interfaces", b.Interface)
	case b.At.Addr().IsLoopback():
		return fmt.Sprintf("the service listens on %s only, where no visitor comes: have it listen on 0.0.0.0 and [::]", b.At.Addr())
	}
	return fmt.Sprintf("the service listens on %s only, and visitors come to this machine's address in the tunnel: gatelodge unexpose %s, then gatelodge expose %s --to %[1]s --name %[2]s; or have it listen on all addresses",
		b.At.Addr(), name, a.mapping)
}

// announce says where a forward is published. Of one that leads to this host it
// says who is served, as far as can be seen from here.
func announce(ctx context.Context, a *app, f config.NewForward, s status.Forward, r status.Report) {
	t := r.Tunnel
	public, notes := publicAddrs(t, s), []string(nil)
	if f.To == "" {
		// Without an answer to this the forward is published as well.
		if answers, err := services(ctx, f, t); err == nil {
			notes = serviceNotes(s.Name, public, answers)
			public = answered(public, answers)
		}
	}
	a.printf("%s is published: %s at %s → %s\n", s.Name, strings.Join(s.Ports, " "), publicText(public, s.Families), targetText(s))
	// What keeps visitors out, such as another firewall, is news with the first
	// forward.
	for _, note := range append(notes, r.Problems...) {
		a.notef("%s", note)
	}
}
