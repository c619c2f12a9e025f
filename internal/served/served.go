// Package served finds out who on this host answers the visitors of a forward, and
// which of them find nobody.
package served

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Port is who answers the visitors of one mapping on this host. A range has an
// answer if one of its ports has.
type Port struct {
	mapping    forward.Mapping
	ipv4, ipv6 bool
	apart      []host.Binding // that wait at the ports where no visitor comes
	elsewhere  netip.Addr     // of this machine, where others publish it; zero: none
}

// Look finds out who answers visitors of a forward of these ports to this host,
// who come by the tunnel.
func Look(ctx context.Context, ports []string, t status.Tunnel) ([]Port, error) {
	bindings, err := host.Bindings()
	if err != nil {
		return nil, err
	}
	var answers []Port
	for _, p := range ports {
		mappings, err := forward.ParseMapping(p)
		if err != nil {
			return nil, err
		}
		for _, m := range mappings {
			a := portOf(m, bindings, t)
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

// portOf judges by what the sockets of this machine are bound to. Visitors come
// by the tunnel, to this machine's addresses in it.
func portOf(m forward.Mapping, bindings []host.Binding, t status.Tunnel) Port {
	a := Port{mapping: m}
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
func (a Port) any() bool { return a.ipv4 || a.ipv6 || len(a.apart) > 0 }

// dialTime is how long this machine may take to answer itself.
const dialTime = time.Second

// dial tries a port for which this machine has no socket: that of a container may
// be one of the firewall's rules alone. UDP cannot be tried so.
func (a *Port) dial(ctx context.Context, t status.Tunnel) {
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
func (a *Port) ask(t status.Tunnel) {
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
