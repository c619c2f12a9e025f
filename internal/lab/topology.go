package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
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

// wires are the cables, made as pairs of veth interfaces by ip -batch.
const wires = `
link add name eth0 netns visitor type veth peer name visitor netns internet
link add name eth0 netns gate type veth peer name gate netns internet
link add name wan netns cgnat type veth peer name cgnat netns internet
link add name eth0 netns home type veth peer name home netns cgnat
link add name eth0 netns device type veth peer name device netns cgnat
link add name eth0 netns home2 type veth peer name home2 netns cgnat
link add name eth0 netns container type veth peer name container netns home
`

// IPv6 addresses are made without duplicate address detection, which would
// keep them unusable for a second.
var sites = []site{
	{
		name: "visitor",
		ipv4: netip.MustParseAddr("203.0.113.10"),
		ipv6: netip.MustParseAddr("2001:db8:c::10"),
		ip: `
addr add 203.0.113.10/24 dev eth0
addr add 2001:db8:c::10/64 dev eth0 nodad
link set eth0 up
route add default via 203.0.113.1
route add ::/0 via 2001:db8:c::1
`,
	},
	{
		name:    "internet",
		ipv4:    netip.MustParseAddr("203.0.113.1"),
		ipv6:    netip.MustParseAddr("2001:db8:c::1"),
		sysctls: []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"},
		ip: `
addr add 203.0.113.1/24 dev visitor
addr add 2001:db8:c::1/64 dev visitor nodad
addr add 198.51.100.254/24 dev gate
addr add 2001:db8:a::fe/64 dev gate nodad
addr add 192.0.2.1/24 dev cgnat
link set visitor up
link set gate up
link set cgnat up
`,
	},
	{
		name: "gate",
		ipv4: netip.MustParseAddr("198.51.100.1"),
		ipv6: netip.MustParseAddr("2001:db8:a::1"),
		ip: `
addr add 198.51.100.1/24 dev eth0
addr add 2001:db8:a::1/64 dev eth0 nodad
link set eth0 up
route add default via 198.51.100.254
route add ::/0 via 2001:db8:a::fe
`,
	},
	{
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
	},
	{
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
	},
	{
		name: "device",
		ipv4: netip.MustParseAddr("192.168.1.20"),
		ip: `
addr add 192.168.1.20/24 dev eth0
link set eth0 up
route add default via 192.168.1.1
`,
	},
	{
		name: "container",
		ipv4: netip.MustParseAddr("172.17.0.2"),
		ip: `
addr add 172.17.0.2/16 dev eth0
link set eth0 up
route add default via 172.17.0.1
`,
	},
	{
		name: "home2",
		ipv4: netip.MustParseAddr("192.168.2.10"),
		ip: `
addr add 192.168.2.10/24 dev eth0
link set eth0 up
route add default via 192.168.2.1
`,
	},
}

// natPorts has cgnat masquerade to ports of one half or the other, at random
// as carriers do, so that a mapping made anew is another one.
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

// connect makes the wires and configures every host.
func (l *Lab) connect(ctx context.Context) error {
	if err := l.Host("internet").batch(ctx, wires); err != nil {
		return err
	}
	for _, s := range sites {
		h := l.Host(s.name)
		if err := h.setSysctls(s.sysctls); err != nil {
			return err
		}
		if err := h.batch(ctx, s.ip); err != nil {
			return err
		}
		if s.nft == "" {
			continue
		}
		if err := h.loadRules(ctx, s.nft); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) batch(ctx context.Context, text string) error {
	_, err := h.run(ctx, strings.NewReader(text), "ip", "-batch", "-")
	return err
}

func (h *Host) loadRules(ctx context.Context, text string) error {
	_, err := h.run(ctx, strings.NewReader(text), "nft", "-f", "-")
	return err
}

func (h *Host) setSysctls(settings []string) error {
	return h.ns.Do(func() error {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
				return fmt.Errorf("cannot set %s on %s: %w", s, h.Name, err)
			}
		}
		return nil
	})
}
