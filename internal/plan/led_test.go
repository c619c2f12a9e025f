package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Only the ports that others lead elsewhere go there, and everything else stays.
func TestFollowed(t *testing.T) {
	own, second := netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.11")
	led := func(p forward.Protocol, at, to string) plan.Led {
		return plan.Led{Protocol: p, At: netip.MustParseAddrPort(at), To: netip.MustParseAddrPort(to)}
	}
	facts := plan.Facts{Led: []plan.Led{
		led(forward.TCP, "192.168.1.10:7013", "172.17.0.2:80"),
		led(forward.TCP, "192.168.1.10:7014", "172.17.0.3:7014"),
		led(forward.UDP, "192.168.1.11:7013", "172.17.0.2:53"),
	}}
	for _, c := range []struct {
		to    netip.Addr
		ports string
		want  string
	}{
		{netip.Addr{}, "7013/tcp", "here 7013/tcp"},
		{own, "7013/tcp", "172.17.0.2 7013:80/tcp"},
		{own, "7013/udp", "192.168.1.10 7013/udp"},
		{own, "7023:7013/tcp", "172.17.0.2 7023:80/tcp"},
		{own, "7010-7020/tcp", "192.168.1.10 7010-7012/tcp 7015-7020/tcp, 172.17.0.2 7013:80/tcp, 172.17.0.3 7014/tcp"},
		{own, "8000-8002:7012-7014/tcp", "192.168.1.10 8000:7012/tcp, 172.17.0.2 8001:80/tcp, 172.17.0.3 8002:7014/tcp"},
		{second, "7013", "192.168.1.11 7013/tcp, 172.17.0.2 7013:53/udp"},
	} {
		mappings, err := forward.ParseMapping(c.ports)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range plan.Followed([]forward.Forward{{To: c.to, Mappings: mappings}}, facts) {
			text := "here"
			if f.To.IsValid() {
				text = f.To.String()
			}
			for _, m := range f.Mappings {
				text += " " + m.String()
			}
			got = append(got, text)
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s --to %s: %s, not %s", c.ports, c.to, s, c.want)
		}
	}
}
