package gate

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
)

func ports(t testing.TB, text ...string) []forward.Ports {
	t.Helper()
	var all []forward.Ports
	for _, s := range text {
		p, err := forward.ParsePorts(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	return all
}

func TestOnlyFlowsThatChangeTheirWayAreCut(t *testing.T) {
	home := netip.MustParseAddr("10.99.0.2")
	web := forward.Grant{ID: 1, Target4: home, Published: forward.Published{Ports: ports(t, "443/tcp")}}
	game := forward.Grant{ID: 2, Target4: home, Published: forward.Published{Ports: ports(t, "25565/udp")}}
	limited := web
	limited.Limit.Connections = 5
	moved := game
	moved.Ports = ports(t, "25566/udp")
	elsewhere := web
	elsewhere.Target4 = netip.MustParseAddr("10.99.0.3")
	for name, c := range map[string]struct {
		before, after        []forward.Grant
		gone, changed, added string
	}{
		"nothing":      {[]forward.Grant{web, game}, []forward.Grant{game, web}, "[]", "[]", ""},
		"one less":     {[]forward.Grant{web, game}, []forward.Grant{web}, "[2]", "[]", ""},
		"one more":     {[]forward.Grant{web}, []forward.Grant{web, game}, "[]", "[]", "25565/udp"},
		"other ports":  {[]forward.Grant{web, game}, []forward.Grant{web, moved}, "[]", "[2]", "25566/udp"},
		"another home": {[]forward.Grant{web, game}, []forward.Grant{elsewhere, game}, "[]", "[1]", "443/tcp"},
		"only a limit": {[]forward.Grant{web}, []forward.Grant{limited}, "[]", "[]", ""},
		"all":          {[]forward.Grant{web, game}, nil, "[1 2]", "[]", ""},
	} {
		d := compareForwards(c.before, c.after)
		var changed []uint32
		for _, f := range d.changed {
			changed = append(changed, f.After.ID)
		}
		if text(d.gone) != c.gone || text(changed) != c.changed || d.added.String() != c.added || len(d.living) != len(c.after) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func text(list []uint32) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(byte('0' + n))
	}
	return b.String() + "]"
}
