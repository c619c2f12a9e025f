package lab

import (
	"net/netip"
	"slices"
)

// site describes a host: the addresses others know it by, its sysctls, and
// what ip(8) and nft(8) are to make of it.
type site struct {
	name       string
	ipv4, ipv6 netip.Addr
	sysctls    []string // KEY=VALUE
	ip         string   // for ip -batch
	nft        string   // for nft -f
}

// sites lists the hosts. Duplicate address detection is switched off, since it
// would keep IPv6 addresses unusable for two seconds.
func sites() []site {
	return []site{visitor(), internet(), gate(), cgnat(), home(), device(), container(), home2()}
}

// sites lists the hosts of this lab that have a namespace: the container lives
// in home's.
func (l *Lab) sites() []site {
	return slices.DeleteFunc(sites(), func(s site) bool {
		host := s.name
		if host == "container" {
			host = "home"
		}
		return slices.Contains(l.options.Machines, host)
	})
}

func visitor() site {
	return site{
		name:    "visitor",
		ipv4:    netip.MustParseAddr("203.0.113.10"),
		ipv6:    netip.MustParseAddr("2001:db8:c::10"),
		sysctls: []string{"net/ipv6/conf/all/accept_dad=0", "net/ipv6/conf/eth0/accept_dad=0"},
		ip: `
addr add 203.0.113.10/24 dev eth0
addr add 2001:db8:c::10/64 dev eth0
link set eth0 up
route add default via 203.0.113.1
route add ::/0 via 2001:db8:c::1
`,
	}
}

func internet() site {
	return site{
		name:    "internet",
		ipv4:    netip.MustParseAddr("203.0.113.1"),
		ipv6:    netip.MustParseAddr("2001:db8:c::1"),
		sysctls: []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv6/conf/all/accept_dad=0", "net/ipv6/conf/visitor/accept_dad=0", "net/ipv6/conf/gate/accept_dad=0", "net/ipv6/conf/cgnat/accept_dad=0"},
		ip: `
addr add 203.0.113.1/24 dev visitor
addr add 2001:db8:c::1/64 dev visitor
addr add 198.51.100.254/24 dev gate
addr add 2001:db8:a::fe/64 dev gate
addr add 192.0.2.1/24 dev cgnat
link set visitor up
link set gate up
link set cgnat up
`,
	}
}

func gate() site {
	return site{
		name:    "gate",
		ipv4:    netip.MustParseAddr("198.51.100.1"),
		ipv6:    netip.MustParseAddr("2001:db8:a::1"),
		sysctls: []string{"net/ipv6/conf/all/accept_dad=0", "net/ipv6/conf/eth0/accept_dad=0"},
		ip: `
addr add 198.51.100.1/24 dev eth0
addr add 2001:db8:a::1/64 dev eth0
link set eth0 up
route add default via 198.51.100.254
route add ::/0 via 2001:db8:a::fe
`,
	}
}

func cgnat() site {
	return site{
		name:    "cgnat",
		ipv4:    netip.MustParseAddr("192.0.2.2"),
		sysctls: []string{"net/ipv4/ip_forward=1"},
		ip: `
addr add 192.0.2.2/24 dev wan
link add lan1 type bridge
link add lan2 type bridge
addr add 192.168.1.1/24 dev lan1
addr add 192.168.2.1/24 dev lan2
link set home master lan1
link set device master lan1
link set home2 master lan2
link set home up
link set device up
link set home2 up
link set lan1 up
link set lan2 up
link set wan up
route add default via 192.0.2.1
`,
		nft: natPorts(false) + `
table ip cgnat_filter {
	chain cgnat_forward {
		type filter hook forward priority filter
		iifname "wan" ct state != { established, related } drop
		iifname "lan1" oifname "lan2" drop
		iifname "lan2" oifname "lan1" drop
	}
}
`,
	}
}

func home() site {
	return site{
		name: "home",
		ipv4: netip.MustParseAddr("192.168.1.10"),
		// Strict reverse path filtering, as many distributions have it; and
		// forwarding, as Docker has it.
		sysctls: []string{"net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=1", "net/ipv4/conf/default/rp_filter=1"},
		ip: `
addr add 192.168.1.10/24 dev eth0
link set eth0 up
route add default via 192.168.1.1
link add docker0 type bridge
addr add 172.17.0.1/16 dev docker0
link set container master docker0
link set container up
link set docker0 up
`,
		// What Docker makes of `--publish 8081:80`.
		nft: `
table ip docker_nat {
	chain docker_prerouting {
		type nat hook prerouting priority dstnat
		fib daddr type local tcp dport 8081 dnat to 172.17.0.2:80
	}
	chain docker_postrouting {
		type nat hook postrouting priority srcnat
		ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
	}
}
`,
	}
}

func device() site {
	return site{
		name: "device",
		ipv4: netip.MustParseAddr("192.168.1.20"),
		ip: `
addr add 192.168.1.20/24 dev eth0
link set eth0 up
route add default via 192.168.1.1
`,
	}
}

func container() site {
	return site{
		name: "container",
		ipv4: netip.MustParseAddr("172.17.0.2"),
		ip: `
addr add 172.17.0.2/16 dev eth0
link set eth0 up
route add default via 172.17.0.1
`,
	}
}

func home2() site {
	return site{
		name: "home2",
		ipv4: netip.MustParseAddr("192.168.2.10"),
		ip: `
addr add 192.168.2.10/24 dev eth0
link set eth0 up
route add default via 192.168.2.1
`,
	}
}

// natPorts has cgnat masquerade to ports of one half or the other, at random
// as carriers do, so that a mapping made again is another one.
func natPorts(high bool) string {
	ports := "10000-29999"
	if high {
		ports = "30000-49999"
	}
	return `
table ip cgnat_nat
delete table ip cgnat_nat
table ip cgnat_nat {
	chain cgnat_postrouting {
		type nat hook postrouting priority srcnat
		oifname "wan" meta l4proto { tcp, udp } masquerade to :` + ports + ` random
		oifname "wan" masquerade
	}
}
`
}
