package firewall_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// others are the firewalls of other software, as nft shows them, and what they
// do to ours: which of the ways are blocked, and where.
var others = []struct {
	software string
	file     string
	blocks   map[string]string // way → chain that drops, and whose it is
}{
	{"none", "", nil},
	{"nftables.service", "nftables.service.nft", map[string]string{
		"visitors": "inet filter forward", "WireGuard": "inet filter input", "control channel": "inet filter input",
	}},
	{"ufw", "ufw.nft", map[string]string{
		"visitors": "ip filter FORWARD", "WireGuard": "ip filter INPUT", "control channel": "ip filter INPUT",
	}},
	{"firewalld", "firewalld.nft", map[string]string{
		"WireGuard": "inet firewalld filter_IN_public", "control channel": "inet firewalld filter_IN_public",
	}},
	{"Docker", "docker.nft", map[string]string{"visitors": "ip filter FORWARD"}},
	{"fail2ban", "fail2ban.nft", nil},
	{"REJECT of iptables (Oracle's images)", "iptables-reject.nft", map[string]string{
		"visitors": "ip filter FORWARD", "WireGuard": "ip filter INPUT", "control channel": "ip filter INPUT",
	}},
}

// ways are what has to get through on a gate, as packets on the wire and as
// what others' rules are asked about.
func ways() map[string]foreign.Packet {
	base := foreign.Packet{In: "eth0", Tunnel: tunnelName, Protocol: 17, Mark: defaultMarks.AcceptedBit, Priority: -5}
	visitors, wireguard, control := base, base, base
	visitors.Hook, visitors.Out, visitors.Protocol, visitors.Port, visitors.DNAT = foreign.Forward, tunnelName, 6, 5000, true
	wireguard.Hook, wireguard.Port = foreign.Input, 51820
	control.Hook, control.In, control.Protocol, control.Port = foreign.Input, tunnelName, 6, 7117
	return map[string]foreign.Packet{"visitors": visitors, "WireGuard": wireguard, "control channel": control}
}

var wayNames = []string{"visitors", "WireGuard", "control channel"}

// passes sends real packets on each of the ways.
func (w *world) passes(t *testing.T) map[string]bool {
	t.Helper()
	probes := map[string]probe{
		"visitors":        w.probe(w.internet, "eth0", tcp, addr("203.0.113.10"), "198.51.100.2:5000"),
		"WireGuard":       w.probe(w.internet, "eth0", udp, addr("203.0.113.10"), "198.51.100.2:51820"),
		"control channel": w.probe(w.home, tunnelName, tcp, homeTunnel4, "10.99.0.1:7117"),
	}
	for _, p := range probes {
		p.send(t, p.from, p.device)
	}
	// The marks that settle waits for are of those ways, too: they may not come.
	got := map[string]bool{}
	last := w.probe(w.internet, "eth0", tcp, addr("203.0.113.10"), "198.51.100.2:22")
	last.send(t, w.internet, "eth0")
	direct := w.probe(w.gate, tunnelName, udp, visitors[1], "10.99.0.2:5000")
	direct.send(t, w.gate, tunnelName)
	eventually(t, "the last packets have arrived", func() bool {
		places := w.places(t)
		for name, p := range probes {
			got[name] = places[p.src.Port()] != ""
		}
		return places[last.src.Port()] != "" && places[direct.src.Port()] != ""
	})
	return got
}

func find(t *testing.T, ns *netns.Namespace) map[string]foreign.Drop {
	t.Helper()
	found := map[string]foreign.Drop{}
	inside(t, ns, func() {
		for name, p := range ways() {
			drops, err := foreign.Find(context.Background(), []foreign.Packet{p}, tableName, "witness")
			must(t, err)
			for _, d := range drops {
				found[name] = d
			}
		}
	})
	return found
}

func loadForeign(t *testing.T, ns *netns.Namespace, file string) {
	t.Helper()
	if file == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join("testdata/foreign", file))
	must(t, err)
	nft(t, ns, string(text))
}

// mark is the one rule by which any firewall lets our packets through.
const mark = "meta mark and 0x08000000 == 0x08000000 accept"

// What is found by reading the rules is what packets meet; and the remedy lets
// them through.
func TestOthersFirewallsAreNamed(t *testing.T) {
	var table bytes.Buffer
	for _, other := range others {
		for _, order := range []string{"before us", "after us"} {
			t.Run(other.software+" "+order, func(t *testing.T) {
				w := newWorld(t)
				ours := func() { w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...)) }
				if order == "after us" {
					ours()
				}
				loadForeign(t, w.gate, other.file)
				if order == "before us" {
					ours()
				}
				found, passes := find(t, w.gate), w.passes(t)
				row := []string{other.software, order}
				for _, way := range wayNames {
					d, named := found[way]
					place := ""
					if named {
						place = fmt.Sprintf("%s %s %s", d.Family, d.Table, d.Chain)
					}
					if passes[way] == named || place != other.blocks[way] {
						t.Errorf("%s: passes is %v, and the verdict is %q of %q; wanted %q", way, passes[way], d.Rule, place, other.blocks[way])
					}
					cell := "pass"
					if named {
						cell = "named: " + place
						nft(t, w.gate, fmt.Sprintf("insert rule %s %s %s %s", d.Family, d.Table, d.Base, mark))
					}
					row = append(row, cell)
				}
				for way, d := range find(t, w.gate) {
					t.Errorf("%s: after the remedy it is still %+v", way, d)
				}
				for way, in := range w.passes(t) {
					if !in {
						t.Errorf("%s: after the remedy it does not pass", way)
					}
				}
				if len(other.blocks) > 0 {
					row = append(row, "pass with one rule about our mark")
				} else {
					row = append(row, "nothing to do")
				}
				fmt.Fprintf(&table, "| %s |\n", strings.Join(row, " | "))
			})
		}
	}
	if !t.Failed() {
		goldenTable(t, "../../../docs/coexistence.md", "matrix", table.String())
	}
}

// goldenTable compares what stands between two comments of a page of the docs.
func goldenTable(t *testing.T, file, name, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	head, rest, ok := strings.Cut(string(text), begin)
	body, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no table %s", file, name)
	}
	i := strings.Index(body, "|---")
	start := i + strings.Index(body[i:], "\n") + 1
	if *update {
		must(t, os.WriteFile(file, []byte(head+begin+body[:start]+want+end+tail), 0o644))
		return
	}
	if diff := cmp.Diff(want, body[start:]); diff != "" {
		t.Errorf("%s: run the test with -update if that is meant (-want +got):\n%s", file, diff)
	}
}

// A list of addresses to block is no policy, however long.
func TestLongListsOfOthersAreNoVerdict(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")))
	var list strings.Builder
	list.WriteString("table inet blocklist {\n\tchain input {\n\t\ttype filter hook input priority 0; policy accept;\n")
	for i := range 60_000 {
		fmt.Fprintf(&list, "\t\tip saddr 11.%d.%d.%d drop\n", i>>16&255, i>>8&255, i&255)
	}
	list.WriteString("\t}\n}\n")
	nft(t, w.gate, list.String())
	if found := find(t, w.gate); len(found) > 0 {
		t.Errorf("it names %+v", found)
	}
	nft(t, w.gate, "table inet late { chain input { type filter hook input priority 10; policy drop; }; }")
	found := find(t, w.gate)
	for tries := 0; len(found) == 0 && tries < 5; tries++ {
		found = find(t, w.gate) // a busy machine may not read so many rules in time
	}
	if d := found["WireGuard"]; d.Table != "late" || d.Rule != "" || d.Remedy.String() != "nft insert rule inet late input meta mark and 0x8000000 == 0x8000000 accept comment gatelodge" {
		t.Errorf("behind the list it names %+v", d)
	}
}
