package host_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Where others lead a port of this machine's own address is read from their
// rules, of both families and protocols; what cannot be told is left alone.
func TestLed(t *testing.T) {
	m := newMachine(t)
	m.run(t, "addr add 192.0.2.77/24 dev lo\naddr add 2001:db8:7::7/64 dev lo\n", "ip", "-batch", "-")
	const chain = "table %s engine {\n chain p {\n type nat hook prerouting priority dstnat\n%s\n}\n}\n"
	for _, c := range []struct{ name, family, rules, at, want string }{
		{"nobody", "ip", "", "192.0.2.77", ""},
		{"TCP", "ip", "ip daddr 192.0.2.77 tcp dport 7013 dnat to 172.17.0.2:80", "192.0.2.77", "tcp 172.17.0.2:80"},
		{"UDP, same port", "ip", "ip daddr 192.0.2.77 udp dport 7013 dnat to 172.17.0.2", "192.0.2.77", "udp 172.17.0.2:7013"},
		{"IPv6", "ip6", "ip6 daddr 2001:db8:7::7 tcp dport 7013 dnat to [fd00::2]:80", "2001:db8:7::7", "tcp [fd00::2]:80"},
		{"both in one table", "inet", "ip daddr 192.0.2.77 meta l4proto { tcp, udp } th dport 7013 dnat ip to 172.17.0.2:80", "192.0.2.77", "tcp 172.17.0.2:80 udp 172.17.0.2:80"},
		{"a map of ports", "ip", "ip daddr 192.0.2.77 dnat to tcp dport map { 7013 : 172.17.0.2 }", "192.0.2.77", "tcp 172.17.0.2:7013"},
		{"another address", "ip", "ip daddr 192.0.2.78 tcp dport 7013 dnat to 172.17.0.2:80", "192.0.2.77", ""},
		{"another interface", "ip", "iifname \"eth7\" tcp dport 7013 dnat to 172.17.0.2:80", "192.0.2.77", ""},
		{"some visitors", "ip", "ip saddr 198.51.100.0/24 tcp dport 7013 dnat to 172.17.0.2:80", "192.0.2.77", ""},
		{"drawn, as kube-proxy", "ip", "numgen random mod 2 0 tcp dport 7013 dnat to 172.17.0.2:80\ntcp dport 7013 dnat to 172.17.0.3:80", "192.0.2.77", ""},
		{"several", "ip", "tcp dport 7013 dnat to 172.17.0.2-172.17.0.9:80", "192.0.2.77", ""},
		{"redirected first", "ip", "tcp dport 7013 redirect to :80\ntcp dport 7013 dnat to 172.17.0.2:80", "192.0.2.77", ""},
		{"to loopback", "ip", "tcp dport 7013 dnat to 127.0.0.1:80", "192.0.2.77", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.run(t, fmt.Sprintf(chain, c.family, c.rules), "nft", "-f", "-")
			defer m.run(t, "delete table "+c.family+" engine\n", "nft", "-f", "-")
			mappings, err := forward.ParseMapping("7013")
			must(t, err)
			forwards := []forward.Forward{{To: netip.MustParseAddr(c.at), Mappings: mappings}}
			var led []plan.Led
			facts := m.facts(t)
			must(t, m.ns.Do(func() (err error) {
				led, err = host.Led(forwards, facts, "gatelodge")
				return err
			}))
			got := ""
			for i, l := range led {
				got += map[bool]string{true: " "}[i > 0] + l.Protocol.String() + " " + l.To.String()
			}
			if got != c.want {
				t.Errorf("led to %q, not %q", got, c.want)
			}
		})
	}
}
