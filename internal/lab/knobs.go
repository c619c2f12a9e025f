package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// wireEnds finds a wire by the hosts it joins.
func wireEnds(name string) (wire, error) {
	for _, w := range wires {
		if name == w[0].host+"-"+w[1].host {
			return w, nil
		}
	}
	return wire{}, fmt.Errorf("the lab has no wire %s", name)
}

// SetMTU sets the MTU of both ends of a wire, such as "cgnat-internet", which
// no host but the two routers can see.
func (l *Lab) SetMTU(wire string, mtu int) error {
	ends, err := wireEnds(wire)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range ends {
		errs = append(errs, l.Host(e.host).withLink(e.link, func(link netlink.Link) error {
			return netlink.LinkSetMTU(link, mtu)
		}))
	}
	return errors.Join(errs...)
}

func (h *Host) withLink(name string, f func(netlink.Link) error) error {
	return h.ns.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = f(link)
		}
		if err != nil {
			return fmt.Errorf("on %s: interface %s: %w", h.Name, name, err)
		}
		return nil
	})
}

// BlockUDP drops, on the internet, all UDP from behind the NAT to the gate.
func (l *Lab) BlockUDP(ctx context.Context) error {
	return l.Host("internet").loadRules(ctx, `
table inet lab_block
delete table inet lab_block
table inet lab_block {
	chain block_forward {
		type filter hook forward priority filter
		iifname "cgnat" oifname "gate" meta l4proto udp drop
	}
}
`)
}

// UnblockUDP undoes BlockUDP.
func (l *Lab) UnblockUDP(ctx context.Context) error {
	return l.Host("internet").loadRules(ctx, "table inet lab_block\ndelete table inet lab_block\n")
}

// FlushNAT makes the carrier-grade NAT forget every mapping, as it does when
// it restarts. The next packet from inside gets another port.
func (l *Lab) FlushNAT(ctx context.Context) error {
	l.natHigh = !l.natHigh
	cgnat := l.Host("cgnat")
	if err := cgnat.loadRules(ctx, natPorts(l.natHigh)); err != nil {
		return err
	}
	return cgnat.flushConntrack()
}

func (h *Host) flushConntrack() error {
	return h.ns.Do(func() error {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			return fmt.Errorf("cannot flush conntrack on %s: %w", h.Name, err)
		}
		return nil
	})
}

// ChangeAddress gives the gate or cgnat another public IPv4 address instead of
// the one it has. It must be of the same network.
func (l *Lab) ChangeAddress(ctx context.Context, host string, to netip.Addr) error {
	routes := map[string]struct {
		link   string
		router netip.Addr
	}{
		"gate":  {"eth0", netip.MustParseAddr("198.51.100.254")},
		"cgnat": {"wan", netip.MustParseAddr("192.0.2.1")},
	}
	r, ok := routes[host]
	if !ok {
		return fmt.Errorf("host %s has no public address to change", host)
	}
	h := l.Host(host)
	if p := netip.PrefixFrom(h.IPv4, 24); !p.Contains(to) || to == h.IPv4 {
		return fmt.Errorf("%s is not another address of %s", to, p.Masked())
	}
	text := fmt.Sprintf("addr del %s/24 dev %s\naddr add %s/24 dev %s\nroute replace default via %s\n", h.IPv4, r.link, to, r.link, r.router)
	if err := h.batch(ctx, text); err != nil {
		return err
	}
	h.IPv4 = to
	if host == "cgnat" {
		// The kernel forgets what it has masqueraded to a lost address, but
		// only some time later.
		return h.flushConntrack()
	}
	return nil
}
