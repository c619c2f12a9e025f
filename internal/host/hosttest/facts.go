package hosttest

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// VPS is a machine on the internet at 198.51.100.2 and 2001:db8::2, with an sshd at
// port 22.
func VPS() plan.Facts {
	public := []netip.Addr{netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8::2")}
	f := behind("198.51.100.0/24", public)
	f.Public = public
	return f
}

// Server is a machine of a LAN, at 192.168.1.10.
func Server() plan.Facts {
	return behind("192.168.1.0/24", []netip.Addr{netip.MustParseAddr("192.168.1.10")})
}

func behind(network string, own []netip.Addr) plan.Facts {
	return plan.Facts{
		Networks: []plan.Network{{Prefix: netip.MustParsePrefix(network), Interface: "eth0", Default: true, OnLink: true}},
		Uplinks:  []string{"eth0"}, Own: own, SSHPorts: []uint16{22}, IPv6: true, UnderlayMTU: 1500,
		Connections: plan.ConnectionTable{Max: 1 << 16, Memory: 1 << 30},
	}
}
