package doctor

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	now  = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	gate = netip.MustParseAddr("198.51.100.1")
	own  = netip.MustParseAddrPort("192.0.2.2:20000")
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// sound is a machine with nothing wrong.
func sound() Machine {
	return Machine{
		NFT: "1.0.6", NFTNeeded: "", Device: "kernel", Automatic: true, KernelHas: true,
		Disks:       []Disk{{Path: "/var/lib/gatelodge", FreeBytes: 1 << 30, FreeFiles: 1000, LimitFiles: true}},
		Forwarding:  Toggle{Needed: true, On: true},
		ReversePath: 2, Conntrack: Conntrack{Count: 100, Max: 65536}, IPv6: true,
	}
}

// healthyHome is what a home finds with a service of its own, a UDP service
// and a device of its LAN.
func healthyHome() Evidence {
	published := func(there bool) []Forward {
		list := []Forward{
			{Name: "web", Protocol: "tcp", Port: 443},
			{Name: "voice", Protocol: "udp", Port: 64738},
			{Name: "camera", Protocol: "tcp", Port: 8443},
		}
		for i := range list {
			list[i].Granted = true
			if there {
				list[i].Inside, list[i].Before, list[i].After = Open, 10, 13
			}
		}
		if there {
			list[1].Inside = TimedOut
			return list
		}
		list[0].LocalPort, list[0].Listeners, list[0].WantsIPv6, list[0].Outside = 443, []netip.AddrPort{at("[::]:443")}, true, Open
		list[1].LocalPort, list[1].Listeners = 64738, []netip.AddrPort{at("0.0.0.0:64738")}
		list[2].LocalPort, list[2].To, list[2].ByRouter, list[2].Hidden, list[2].Local, list[2].Outside = 443, netip.MustParseAddr("192.168.1.20"), true, true, Open, Open
		return list
	}
	return Evidence{
		Here: Side{
			Role: "home", Name: "home", Daemon: true, Clock: now, Machine: sound(), Forwards: published(false),
			Tunnel: Tunnel{
				Answers: true, Small: Open, Large: Open, MTU: 1420, Silence: time.Second, Route: true,
				Tried: at("198.51.100.1:55107"), Answered: at("198.51.100.1:55107"), Observed: own,
				Names: []Name{{Endpoint: "gate.example:55107", Addresses: []netip.Addr{gate}}},
			},
		},
		There: &Side{
			Role: "gate", Daemon: true, Clock: now.Add(time.Second), Machine: sound(), Forwards: published(true),
			Public: []netip.Addr{gate, netip.MustParseAddr("2001:db8:a::1")},
			Homes:  []Peer{{Name: "home", Endpoint: own, Handshake: time.Minute, Heard: true}},
		},
	}
}

// healthyGate is what a gate finds with one home.
func healthyGate() Evidence {
	there := *healthyHome().There
	for i := range there.Forwards {
		there.Forwards[i].Home = "home"
	}
	return Evidence{Here: there}
}

// breakage is a fault, as what it makes of healthy evidence.
type breakage struct {
	fault string // in the words of the documents
	want  ID
	gate  bool // found on the gate; else at home
	harm  func(e *Evidence)
}

func disconnect(e *Evidence) {
	e.Here.Tunnel.Answers, e.Here.Tunnel.Small, e.Here.Tunnel.Large = false, Untried, Untried
	e.There, e.Missing = nil, Silent
}

// inTheLab are the faults that TestDoctorNamesTheCulprit in cmd/gatelodge also
// brings about for real, with daemons in network namespaces.
var inTheLab = []string{
	"service not listening", "listening on loopback only", "another process on the gate holds the port", "LAN target down",
	"LAN target answering elsewhere", "an open relay", "gate's forward dropped by a foreign table",
	"gate's forward dropped by a foreign rule about the source", "dropped on the gate before our rules",
	"home's input dropped by a foreign table", "provider firewall", "MTU black hole", "UDP to the gate blocked", "handshake stale",
	"forward refused by policy", "rp_filter strict", "ip_forward off", "tunnel prefix overlapping a LAN", "disk full",
	"endpoint's name resolves elsewhere", "our rule deleted", "two homes with one key", "home's daemon does not run",
	"nft too old", "wrong key", "UDP service not listening", "gate's input dropped by a foreign table",
	"gate's input dropped by ufw", "gate's forward dropped by ufw", "gate's forward dropped by Docker", "gate's input dropped by firewalld",
	"gate's input dropped, seen from the home", "hairpin asked of a router that cannot",
}

// onMachines are those that the virtual machines bring about (vmtest).
var onMachines = []string{
	"clock of another century", "conntrack full", "the VPS reachable by ssh only through the tunnel", "no route to the gate",
	"gate's daemon silent", "embedded device although the kernel has one", "gate's forward dropped by ufw",
	"gate's forward dropped by Docker", "gate's input dropped by ufw", "gate's input dropped by firewalld", "IPv6 missing at home",
}

// breakages are all faults that can be told apart.
func breakages() []breakage {
	home := func(fault string, want ID, harm func(e *Evidence)) breakage {
		return breakage{fault, want, false, harm}
	}
	onGate := func(fault string, want ID, harm func(e *Evidence)) breakage { return breakage{fault, want, true, harm} }
	lose := func(e *Evidence) { e.Here.Forwards[0].Outside = TimedOut }
	drop := func(owner, table, chain string) func(e *Evidence) {
		return func(e *Evidence) {
			lose(e)
			e.There.Drops = []Drop{{Hook: Passing, Owner: owner, Table: table, Chain: chain, Remedy: "remedy of " + owner}}
		}
	}
	silence := func(owner, table, chain string) func(e *Evidence) {
		return func(e *Evidence) {
			e.Here.Homes[0].Heard = false
			e.Here.Drops = []Drop{{Hook: Input, Owner: owner, Table: table, Chain: chain, Protocol: "udp", Port: 55107, Remedy: "let 55107/udp in"}}
		}
	}
	return []breakage{
		home("service not listening", NotListening, func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = nil, Closed, Closed
		}),
		home("UDP service not listening", NotListening, func(e *Evidence) {
			e.Here.Forwards[1].Listeners, e.There.Forwards[1].Inside = nil, Closed
		}),
		home("listening on loopback only", LoopbackOnly, func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = []netip.AddrPort{at("127.0.0.1:443")}, Closed, Closed
		}),
		home("another process on the gate holds the port", PortHeld, func(e *Evidence) { e.There.Forwards[0].Holder = "nginx" }),
		home("forward refused by policy", RefusedByPolicy, func(e *Evidence) {
			e.There.Forwards[0].Granted, e.There.Forwards[0].Reason, e.There.Forwards[0].Inside = false, "the gate needs 22/tcp (ssh) itself", Untried
		}),
		home("gate has not decided yet", NotGrantedYet, func(e *Evidence) {
			e.Here.Forwards[0].Granted, e.Here.Forwards[0].Pending = false, true
			e.There, e.Missing = nil, Older
		}),
		home("gate's forward dropped by ufw", GateForwardDrops, drop("ufw", "ip filter", "ufw-reject-forward")),
		home("gate's forward dropped by firewalld", GateForwardDrops, drop("firewalld", "inet firewalld", "filter_FORWARD")),
		home("gate's forward dropped by Docker", GateForwardDrops, drop("Docker", "ip filter", "FORWARD")),
		home("gate's forward dropped by a foreign table", GateForwardDrops, lose),
		home("gate's forward dropped by a foreign rule about the source", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Drops = []Drop{{Hook: Passing, Table: "inet other", Chain: "f", Rule: "ip saddr 192.0.2.2 drop", Protocol: "tcp", Port: 443}}
		}),
		home("dropped on the gate before our rules", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived = e.There.Forwards[0].Before, true, true
			e.There.Drops = []Drop{{Hook: Arrival, Table: "inet other", Chain: "banned", Rule: "drop", Protocol: "tcp", Port: 443}}
		}),
		home("lost on the gate before our rules", GateForwardDrops, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After, e.There.Forwards[0].Traced, e.There.Forwards[0].Arrived = e.There.Forwards[0].Before, true, true
		}),
		onGate("gate's input dropped by a foreign table", GateInputDrops, silence("", "inet other", "input")),
		home("gate's input dropped, seen from the home", GateInputDrops, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Carries = true }),
		onGate("gate's input dropped by ufw", GateInputDrops, silence("ufw", "ip filter", "ufw-reject-input")),
		onGate("gate's input dropped by firewalld", GateInputDrops, silence("firewalld", "inet firewalld", "filter_IN_public")),
		home("home's input dropped by a foreign table", HomeDrops, func(e *Evidence) { e.There.Forwards[0].Inside = TimedOut; lose(e) }),
		home("provider firewall", ProviderFirewall, func(e *Evidence) { lose(e); e.There.Forwards[0].After = e.There.Forwards[0].Before }),
		home("UDP to the gate blocked", UDPBlocked, disconnect),
		onGate("handshake stale", HandshakeStale, func(e *Evidence) { e.Here.Homes[0].Heard, e.Here.Homes[0].Handshake = false, time.Hour }),
		onGate("wrong key", WrongKey, func(e *Evidence) {
			e.Here.Homes[0].Heard, e.Here.Strangers = false, []netip.AddrPort{own}
		}),
		home("wrong key, seen from the home", WrongKey, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Answered = netip.AddrPort{} }),
		home("clock of another century", ClockWrong, func(e *Evidence) { e.Here.Clock = time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC) }),
		home("clock differs from the gate's", ClockWrong, func(e *Evidence) { e.Here.Clock = now.Add(-3 * time.Hour) }),
		home("endpoint's name resolves elsewhere", NameElsewhere, func(e *Evidence) {
			e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.99")}
		}),
		home("endpoint's name resolves elsewhere, tunnel down", NameElsewhere, func(e *Evidence) {
			disconnect(e)
			e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.99")}
		}),
		home("endpoint's name does not resolve", NameFails, func(e *Evidence) {
			disconnect(e)
			e.Here.Tunnel.Names[0] = Name{Endpoint: "gate.example:55107", Error: "no such host"}
		}),
		home("no route to the gate", NoRoute, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Route = false }),
		home("gate's daemon silent", GateDaemonSilent, func(e *Evidence) { disconnect(e); e.Here.Tunnel.Alone, e.Here.Tunnel.Carries = true, true }),
		home("MTU black hole", MTUBlackHole, func(e *Evidence) {
			e.Here.Tunnel.Large, e.There, e.Missing = TimedOut, nil, Silent
		}),
		home("rp_filter strict", ReversePath, func(e *Evidence) {
			e.Here.Machine.ReversePath = 1
			e.Here.Machine.Drift = []string{"set sysctl net.ipv4.conf.gatelodge.rp_filter = 2 (now 1)"}
			lose(e)
			e.There.Forwards[0].Inside = TimedOut
		}),
		onGate("our rule deleted", RuleDeleted, func(e *Evidence) {
			e.Here.Machine.Drift = []string{"load nftables table inet gatelodge: the table is missing"}
		}),
		onGate("ip_forward off", ForwardingOff, func(e *Evidence) {
			e.Here.Machine.Forwarding.On, e.Here.Machine.Drift = false, []string{"set sysctl net.ipv4.ip_forward = 1 (now 0)"}
		}),
		onGate("conntrack full", ConntrackFull, func(e *Evidence) { e.Here.Machine.Conntrack.Count = 65530; e.Here.Forwards[0].Inside = TimedOut }),
		home("LAN target down", TargetDown, func(e *Evidence) {
			e.Here.Forwards[2].Local, e.There.Forwards[2].Inside, e.Here.Forwards[2].Outside = TimedOut, TimedOut, TimedOut
		}),
		home("LAN target answering elsewhere", AnswersElsewhere, func(e *Evidence) {
			e.Here.Forwards[2].Hidden, e.There.Forwards[2].Inside, e.Here.Forwards[2].Outside = false, TimedOut, TimedOut
		}),
		home("hairpin asked of a router that cannot", Hairpin, func(e *Evidence) {
			lose(e)
			e.There.Forwards[0].After = e.There.Forwards[0].Before
			e.Here.Tunnel.Observed = at("192.168.1.10:40000")
		}),
		home("IPv6 missing at home", IPv6OneSide, func(e *Evidence) { e.Here.Machine.IPv6 = false }),
		home("IPv6 missing in the tunnel", IPv6OneSide, func(e *Evidence) { e.Here.Machine.IPv6, e.There.Machine.IPv6 = false, false }),
		onGate("the VPS reachable by ssh only through the tunnel", SSHInTunnelOnly, func(e *Evidence) {
			e.Here.SSHOnlyInTunnel = []netip.AddrPort{at("10.99.0.1:22")}
		}),
		onGate("two homes with one key", TwinKey, func(e *Evidence) { e.Here.Homes[0].Flapped = []netip.AddrPort{own, at("203.0.113.7:4000")} }),
		home("an open relay", OpenRelay, func(e *Evidence) { e.Here.Forwards[0].Hidden, e.Here.Forwards[0].LocalPort = true, 3128 }),
		home("tunnel prefix overlapping a LAN", TunnelOverlap, func(e *Evidence) {
			e.Here.Machine.Overlap = &Overlap{netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix("10.99.0.0/16"), "eth0"}
			disconnect(e)
		}),
		onGate("disk full", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].FreeBytes = 0 }),
		onGate("disk without inodes", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].FreeFiles = 0 }),
		onGate("disk read-only", DiskFull, func(e *Evidence) { e.Here.Machine.Disks[0].ReadOnly = true }),
		onGate("nft too old", NFTTooOld, func(e *Evidence) {
			e.Here.Daemon, e.Here.Machine.NFT, e.Here.Machine.NFTTooOld, e.Here.Machine.NFTNeeded = false, "0.9.8", true, "1.0.2"
		}),
		onGate("embedded device although the kernel has one", EmbeddedDevice, func(e *Evidence) { e.Here.Machine.Device = "embedded" }),
		home("home's daemon does not run", DaemonDown, func(e *Evidence) { *e = Evidence{Here: Side{Role: "home", Clock: now}} }),
		onGate("what only the daemon knows", Trouble, func(e *Evidence) { e.Here.Machine.Problems = []string{"no interface has a default route"} }),
	}
}

func (b breakage) evidence() Evidence {
	e := healthyHome()
	if b.gate {
		e = healthyGate()
	}
	b.harm(&e)
	return e
}

func foundIDs(found []Finding) []ID {
	var list []ID
	for _, f := range found {
		list = append(list, f.ID)
	}
	return list
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	for _, e := range []Evidence{healthyHome(), healthyGate()} {
		if found := Judge(e); len(found) > 0 {
			t.Errorf("on a healthy %s: %+v", e.Here.Role, found)
		}
	}
}

// A gate that cannot be asked makes no finding by itself.
func TestOneSideAlone(t *testing.T) {
	for _, missing := range []Missing{Older, Refused} {
		e := healthyHome()
		e.There, e.Missing = nil, missing
		if found := Judge(e); len(found) > 0 {
			t.Errorf("with a gate that is %s: %+v", missing, found)
		}
		if notes := Notes(e); len(notes) != 1 || !strings.Contains(notes[0], "only this side") {
			t.Errorf("with a gate that is %s the notes are %q", missing, notes)
		}
	}
}

func TestEachFaultIsNamedAlone(t *testing.T) {
	for _, b := range breakages() {
		t.Run(b.fault, func(t *testing.T) {
			found := Judge(b.evidence())
			if got := foundIDs(found); !slices.Equal(got, []ID{b.want}) {
				t.Fatalf("found %v, not %s alone: %+v", got, b.want, found)
			}
			f := found[0]
			if f.Sentence == "" || !strings.HasSuffix(f.Sentence, ".") || strings.Count(f.Sentence, ". ") > 0 || f.Command == "" && f.Hint == "" {
				t.Errorf("not one sentence with a remedy: %+v", f)
			}
		})
	}
}

// Two faults of one side at once: the judge names one of them at least, the
// second too unless the first hides it, and never a third.
func TestPairsOfFaultsBringNoThird(t *testing.T) {
	all := breakages()
	for _, a := range all {
		for _, b := range all {
			if a.gate != b.gate || a.fault == b.fault || !combines(a) || !combines(b) {
				continue
			}
			e := a.evidence()
			if e.There == nil && !b.gate {
				continue // b would harm what the gate has not told
			}
			b.harm(&e)
			for _, got := range foundIDs(Judge(e)) {
				if got != a.want && got != b.want {
					t.Errorf("%s and %s: found %s", a.fault, b.fault, got)
				}
			}
			if len(Judge(e)) == 0 {
				t.Errorf("%s and %s: nothing found", a.fault, b.fault)
			}
		}
	}
}

// combines leaves out faults that touch the same evidence in a way that no
// machine could show at once.
func combines(b breakage) bool { return b.want != Trouble && b.want != DaemonDown }

func TestEveryIDIsTested(t *testing.T) {
	have := map[ID]bool{}
	for _, b := range breakages() {
		have[b.want] = true
	}
	if len(have) < 28 {
		t.Errorf("only %d causes are told apart", len(have))
	}
}

var update = flag.Bool("update", false, "write the table of docs/doctor.md anew")

// The table in the documents is what the tests do.
func TestTheDocumentsShowWhatIsTested(t *testing.T) {
	const file, begin, end = "../../docs/doctor.md", "<!-- faults: written by the tests -->\n", "<!-- end of faults -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the table", file)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s does not show what is tested; run: go test ./internal/doctor -update", file)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| fault | asked | verdict | how it is tested |\n|---|---|---|---|\n")
	for _, f := range breakages() {
		where, how := "at home", "evidence"
		if f.gate {
			where = "on the gate"
		}
		if slices.Contains(inTheLab, f.fault) {
			how += "; brought about in the lab"
		}
		if slices.Contains(onMachines, f.fault) {
			how += "; brought about on machines"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", f.fault, where, f.want, how)
	}
	return b.String()
}

func TestRealFaultsAreListed(t *testing.T) {
	for _, name := range slices.Concat(inTheLab, onMachines) {
		if !slices.ContainsFunc(breakages(), func(b breakage) bool { return b.fault == name }) {
			t.Errorf("no fault is called %q", name)
		}
	}
}
