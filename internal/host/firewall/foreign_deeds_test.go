package firewall_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// deeds are what others do beside dropping, in the spellings of nft, iptables and
// iptables-legacy: to a visitor's packet that arrives at a gate, to one that
// leaves it for the tunnel, and to an answer of a service at home.
var deeds = []struct {
	name   string
	nft    string // what stands in a table "ip other"
	tables string // arguments of both iptables
	want   map[string]foreign.Deed
}{
	{"masquerade", "chain p { type nat hook postrouting priority srcnat; masquerade; }", "-t nat -A POSTROUTING -j MASQUERADE", map[string]foreign.Deed{"leaving": foreign.Hides}},
	{"snat", "chain p { type nat hook postrouting priority srcnat; snat to 192.0.2.1; }", "-t nat -A POSTROUTING -o gatelodge0 -j SNAT --to-source 192.0.2.1", map[string]foreign.Deed{"leaving": foreign.Hides}},
	{"masquerade of a container's network", `chain p { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }`, "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", nil},
	{"masquerade by another interface", `chain p { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }`, "-t nat -A POSTROUTING -o eth0 -j MASQUERADE", nil},
	{"notrack of a visitor", "chain p { type filter hook prerouting priority raw; tcp dport 5000 notrack; }", "-t raw -A PREROUTING -p tcp --dport 5000 -j CT --notrack", map[string]foreign.Deed{"arriving": foreign.Untracks}},
	{"notrack of an answer", "chain o { type filter hook output priority raw; tcp sport 5000 notrack; }", "-t raw -A OUTPUT -p tcp -m multiport --sports 80,5000 -j CT --notrack", map[string]foreign.Deed{"answer": foreign.Untracks}},
	{"notrack of another port", "chain p { type filter hook prerouting priority raw; tcp dport 5001 notrack; }", "-t raw -A PREROUTING -p tcp --dport 5001 -j CT --notrack", nil},
	{"a whole mark", "chain o { type route hook output priority mangle; tcp sport 5000 meta mark set 0x1; }", "-t mangle -A OUTPUT -j MARK --set-mark 1", map[string]foreign.Deed{"answer": foreign.Remarks}},
	{"a mark beside ours", "chain o { type route hook output priority mangle; meta mark set meta mark and 0xf0ffffff or 0x1; }", "-t mangle -A OUTPUT -j MARK --set-xmark 0x1/0x0fffffff", nil},
	{"a whole connection mark", "chain o { type route hook output priority mangle; ct mark set 0x1; }", "-t mangle -A OUTPUT -j CONNMARK --set-mark 1", map[string]foreign.Deed{"answer": foreign.Remarks}},
	{"answers let through by nobody", "chain o { type filter hook output priority filter; policy drop; }", "-P OUTPUT DROP", map[string]foreign.Deed{"answer": foreign.Drops}},
}

func TestWhatOthersDoIsRead(t *testing.T) {
	packets := map[string]foreign.Packet{
		"arriving": {Hook: foreign.Arrival, In: "eth0", Tunnel: tunnelName, Protocol: 6, Port: 5000, Priority: -5},
		"leaving":  {Hook: foreign.Leaving, Out: tunnelName, Tunnel: tunnelName, Protocol: 6, Port: 5000, DNAT: true, Mark: defaultMarks.AcceptedBit, Priority: -5},
		"answer":   {Hook: foreign.Output, Out: tunnelName, Tunnel: tunnelName, Protocol: 6, Port: 5000, Answer: true, Mark: defaultMarks.Answer, Kept: defaultMarks.Mask, Priority: -150},
	}
	ns := netnstest.New(t, "deeds")
	for _, d := range deeds {
		check := func(spelling string) {
			t.Helper()
			got := map[string]foreign.Deed{}
			inside(t, ns, func() {
				for name, p := range packets {
					found, err := foreign.Find(context.Background(), []foreign.Packet{p})
					must(t, err)
					for _, f := range found {
						got[name] = f.Deed
						if f.Remedy != (remedy.Remedy{}) {
							t.Errorf("%s by %s: it proposes %q, which does not help", d.name, spelling, f.Remedy)
						}
					}
				}
			})
			want := d.want
			if want == nil {
				want = map[string]foreign.Deed{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s", d.name, spelling, diff)
			}
		}
		nft(t, ns, "table ip other {\n"+strings.NewReplacer("{ ", "{\n", "; }", "\n}").Replace(d.nft)+"\n}\n")
		check("nft")
		nft(t, ns, "delete table ip other\n")
		for _, tool := range []string{"iptables-nft", "iptables-legacy"} {
			command(t, ns, "", append([]string{tool}, strings.Fields(d.tables)...)...)
			check(tool)
			for _, undo := range []string{"-P OUTPUT ACCEPT", "-t nat -F", "-t raw -F", "-t mangle -F"} {
				command(t, ns, "", append([]string{tool}, strings.Fields(undo)...)...)
			}
		}
	}
}

// What our own chain of nat settles, others cannot undo; before it, they can.
func TestWhoComesBeforeOursHidesVisitors(t *testing.T) {
	ns := netnstest.New(t, "settled")
	p := foreign.Packet{Hook: foreign.Leaving, Out: tunnelName, Tunnel: tunnelName, Protocol: 6, Port: 5000, DNAT: true, Settled: true, SettledAt: 0}
	for priority, hides := range map[string]bool{"srcnat": false, "srcnat - 100": false, "srcnat - 101": true} {
		nft(t, ns, "table ip other {\nchain p {\ntype nat hook postrouting priority "+priority+"\nmasquerade\n}\n}\n")
		inside(t, ns, func() {
			found, err := foreign.Find(context.Background(), []foreign.Packet{p})
			must(t, err)
			if (len(found) == 1) != hides {
				t.Errorf("at %s: %+v", priority, found)
			}
		})
		nft(t, ns, "delete table ip other\n")
	}
}

func TestThisKernelLacksNothing(t *testing.T) {
	ns := netnstest.New(t, "lacks")
	inside(t, ns, func() {
		lacks, err := open(t).Lacks(context.Background())
		if err != nil || len(lacks) > 0 {
			t.Errorf("it lacks %v, %v", lacks, err)
		}
	})
}
