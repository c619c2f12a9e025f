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

// A home that knows of its copy need not be told of it by the gate as well.
func TestACopyThatStandsBackIsNamedOnce(t *testing.T) {
	for name, says := range map[string]func(*Peer){
		"by its runs":   func(p *Peer) { p.Twins = true },
		"by its places": func(p *Peer) { p.Flapped = []netip.AddrPort{own, at("203.0.113.7:4000")} },
	} {
		e := healthyHome()
		e.Here.Tunnel.Rival = true
		says(&e.There.Homes[0])
		if found := Judge(e); len(found) != 1 || found[0].ID != TwinKey || found[0].Severity != Warning {
			t.Errorf("known to the gate %s, found %+v", name, found)
		}
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

// A resolver of a network with IPv6 alone gives the gate's IPv4 address in the
// spelling of its NAT64, of whichever prefix: that is the gate.
func TestNAT64LeadsToTheGate(t *testing.T) {
	for _, spelling := range []string{"64:ff9b::c633:6401", "64:ff9b:1::c633:6401", "2001:db8:64::c633:6401", "2001:db8:c633:6401::", "2001:db8:1c6:3364:1::", "2001:db8:122:c633:64:100::", "2001:db8:122:344:c6:3364:100::"} {
		e := healthyHome()
		e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr(spelling)}
		if found := Judge(e); len(found) > 0 {
			t.Errorf("%s: %+v", spelling, found)
		}
	}
	e := healthyHome()
	e.Here.Tunnel.Names[0].Addresses = []netip.Addr{netip.MustParseAddr("64:ff9b::c633:6402")}
	if found := foundIDs(Judge(e)); !slices.Equal(found, []ID{NameElsewhere}) {
		t.Errorf("another address by NAT64: %v", found)
	}
}

// Names can come from the other side: no command is made of what is none.
func TestNoCommandIsMadeOfWhatTheGateSays(t *testing.T) {
	const evil = "x; reboot #"
	for name, harm := range map[string]func(e *Evidence){
		"table": func(e *Evidence) {
			e.Here.Forwards[0].Outside, e.There.Drops = TimedOut, []Drop{{Hook: Passing, Table: "ip " + evil, Chain: "f"}}
		},
		"chain": func(e *Evidence) {
			e.Here.Forwards[0].Outside, e.There.Drops = TimedOut, []Drop{{Hook: Passing, Table: "ip filter", Chain: evil}}
		},
		"folder": func(e *Evidence) {
			e.There.Machine.Disks[0].Path, e.There.Machine.Disks[0].ReadOnly = "/var/"+evil, true
		},
		"interface": func(e *Evidence) { e.There.Machine.NotPassing = []string{evil} },
		"module": func(e *Evidence) {
			e.There.Machine.Lacks, e.There.Machine.Drift = []string{evil}, []Drift{{Text: "~ table inet gatelodge: it is missing"}}
		},
	} {
		e := healthyHome()
		harm(&e)
		found := Judge(e)
		if len(found) != 1 || found[0].Command == "" || strings.Contains(found[0].Command, "reboot") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// What was not looked at is not missing.
func TestAStateThatWasNotSeenIsNoFault(t *testing.T) {
	e := healthyHome()
	e.Here.Machine.IPv6, e.Here.Machine.StateUnseen = false, true
	if found := Judge(e); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// Who was revoked and still calls is named, and no other home is blamed for it.
func TestARevokedHomeThatCallsIsNamed(t *testing.T) {
	revoked := []Revoked{
		{Name: "shed", At: now}, // it was never seen
		{Name: "cellar", Endpoint: at("203.0.113.7:4000"), At: time.Date(2026, 11, 30, 20, 13, 5, 0, time.UTC)},
	}
	const sentence = "Home cellar, which was revoked on 30 Nov 20:13, still calls: from 203.0.113.7, where it was then, somebody calls this gate with a key that it does not know."
	for name, c := range map[string]struct {
		strangers []netip.AddrPort
		silent    bool
		want      []ID
	}{
		"it alone":                   {[]netip.AddrPort{at("203.0.113.7:1000"), at("203.0.113.7:1001"), at("203.0.113.7:1002")}, false, []ID{WrongKey}},
		"while a home is down":       {[]netip.AddrPort{at("203.0.113.7:1000")}, true, []ID{WrongKey, HandshakeStale}},
		"beside somebody else":       {[]netip.AddrPort{at("203.0.113.7:1000"), at("203.0.113.8:1000")}, true, []ID{WrongKey, WrongKey}},
		"it is silent":               {nil, false, nil},
		"it is silent, like another": {nil, true, []ID{HandshakeStale}},
	} {
		e := healthyGate()
		e.Here.Revoked, e.Here.Strangers = revoked, c.strangers
		if e.Here.Homes[0].Heard = !c.silent; c.silent {
			e.Here.Forwards = nil
		}
		var got []ID
		found := Judge(e)
		for _, f := range found {
			got = append(got, f.ID)
		}
		if !slices.Equal(got, c.want) || len(c.strangers) > 0 && !slices.ContainsFunc(found, func(f Finding) bool { return f.Sentence == sentence && f.Severity == Warning }) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// One call from the internet is no home.
func TestScannersAreNoHomes(t *testing.T) {
	e := healthyGate()
	e.Here.Strangers = []netip.AddrPort{at("203.0.113.7:1000"), at("203.0.113.8:1000"), at("203.0.113.9:1000")}
	if found := Judge(e); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

func TestEveryIDIsTested(t *testing.T) {
	have := map[ID]bool{}
	for _, b := range breakages() {
		have[b.want] = true
	}
	if len(have) < 28 {
		t.Errorf("only %d causes are told apart", len(have))
	}
}

var update = flag.Bool("update", false, "write the table of docs/doctor.md again")

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
