package main

import (
	"context"
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// What an engine publishes at one address of home is reached with --to that
// address, as different tools write the rule, and the container sees the
// visitor; it is followed when it moves, and left when it goes.
func TestContainersAtOneAddress(t *testing.T) {
	l := newJoinedLab(t)
	home, gate := l.Home(), l.Gate().IPv4
	own, err := home.Listen("tcp4", "192.168.1.10:7014")
	must(t, err)
	defer own.Close()
	must(t, home.Expose(t.Context(), "7013/tcp", "7015-7017:7015-7017/tcp", "7023:7013/tcp", "7014/tcp", "--to", "192.168.1.10", "--name", "engine"))
	sees := func(port uint16) {
		t.Helper()
		eventually(t, "the container sees the visitor", func(ctx context.Context) error {
			return saw(l, gate)(lab.ProbeHTTP(ctx, l.Visitor(), netip.AddrPortFrom(gate, port)))
		})
	}
	goneAgain := func() {
		t.Helper()
		eventually(t, "nobody is there", func(ctx context.Context) error {
			return isAnswered(ctx, l, netip.AddrPortFrom(gate, 7013), false)
		})
	}
	goneAgain()
	for _, form := range []struct{ name, load, remove string }{
		{"one chain", `nft -f - <<'E'
table ip engine { chain p { type nat hook prerouting priority dstnat; ip daddr 192.168.1.10 tcp dport { 7013, 7016 } dnat to 172.17.0.2:80; }; }
E`, "nft delete table ip engine"},
		{"a chain of its own, as netavark", `nft -f - <<'E'
table inet engine {
			chain setmark { meta mark set meta mark or 0x2000; }
			chain one { ip saddr 172.17.0.0/16 tcp dport 7013 jump setmark; ip saddr 127.0.0.1 tcp dport 7013 jump setmark; ip daddr 192.168.1.10 tcp dport { 7013, 7016 } dnat ip to 172.17.0.2:80; }
			chain ports { ip daddr 192.168.1.10 tcp dport { 7013, 7016 } jump one; }
			chain p { type nat hook prerouting priority dstnat; fib daddr type local jump ports; }; }
E`, "nft delete table inet engine"},
		{"iptables, as Docker", `iptables-nft -t nat -N ENGINE && iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j ENGINE &&
			iptables-nft -t nat -A ENGINE -i docker0 -j RETURN &&
			iptables-nft -t nat -A ENGINE ! -i docker0 -d 192.168.1.10/32 -p tcp -m tcp --dport 7013 -j DNAT --to-destination 172.17.0.2:80 &&
			iptables-nft -t nat -A ENGINE ! -i docker0 -d 192.168.1.10/32 -p tcp -m tcp --dport 7016 -j DNAT --to-destination 172.17.0.2:80`, "nft delete table ip nat"},
	} {
		t.Run(form.name, func(t *testing.T) {
			run(t, home, "sh", "-c", form.load)
			sees(7013)
			sees(7016)
			sees(7023)
			out := run(t, home, "sh", "-c", "gatelodge expose 7031:7013/tcp --name alone 2>&1")
			contains(t, out, "published at 192.168.1.10 only", "gatelodge expose 7031:7013/tcp --to 192.168.1.10 --name alone")
			run(t, home, "sh", "-c", "gatelodge unexpose alone")
			must(t, isAnswered(t.Context(), l, netip.AddrPortFrom(gate, 7014), true))
			run(t, home, "sh", "-c", form.remove)
			goneAgain()
		})
	}
	udp := netip.AddrPortFrom(gate, 7018)
	must(t, home.Expose(t.Context(), "7018/udp", "--to", "192.168.1.10", "--name", "datagrams"))
	run(t, home, "sh", "-c", "nft -f - <<'E'\ntable ip engine { chain p { type nat hook prerouting priority dstnat; ip daddr 192.168.1.10 udp dport 7018 dnat to 192.168.1.20:7002; }; }\nE")
	eventually(t, "a device's UDP service by two rules", func(ctx context.Context) error {
		_, err := lab.ProbeUDP(ctx, l.Visitor(), udp)
		return err
	})
}
