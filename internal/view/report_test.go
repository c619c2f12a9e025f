package view_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/view"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func gateReport() status.Report {
	return status.Report{
		Role: "gate", Version: "v0.1.0", Running: true, Since: now.Add(-26 * time.Hour), Seen: now.Add(-time.Minute),
		Tunnel: status.Tunnel{
			Interface: "gatelodge", Up: true, Device: "kernel", PublicKey: key.Public{1}, ListenPort: 55107, MTU: 1420,
			Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")},
			Public:    []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:a::1")},
		},
		Homes: []status.Home{{
			Name: "attic", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, Connected: true, Forwards: 2, Refused: 1,
			Peer: status.Peer{Endpoint: netip.MustParseAddrPort("192.0.2.2:4711"), LatestHandshake: now.Add(-31 * time.Second), ReceivedBytes: 5 << 20, SentBytes: 3 << 30},
		}, {
			Name: "barn", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.3"), netip.MustParseAddr("fd99::3")}, Forwards: 1,
			Peer: status.Peer{Endpoint: netip.MustParseAddrPort("203.0.113.9:51820"), LatestHandshake: now.Add(-5 * time.Minute), ReceivedBytes: 900, SentBytes: 1 << 10},
		}},
		Invites: []status.Invite{{Name: "cellar", Expires: now.Add(23 * time.Hour)}},
		Forwards: []status.Forward{
			{Name: "game", Home: "attic", Ports: []string{"25565/tcp"}, Source: "masquerade", State: status.Granted},
			{Name: "ssh", Home: "attic", Ports: []string{"22/tcp"}, Source: "preserve", State: status.Refused, Reason: "the gate needs 22/tcp (ssh) itself"},
			{Name: "web", Home: "attic", Ports: []string{"80/tcp", "443/tcp"}, Source: "preserve", State: status.Granted, Allow: []string{"203.0.113.0/24"}, Limit: "20/second",
				In: &status.Traffic{Packets: 10, Bytes: 2048}, Out: &status.Traffic{Packets: 20, Bytes: 1 << 20}, Connections: 3, Limited: 12, LastConnection: now.Add(-12 * time.Second)},
			{Name: "web", Home: "barn", Ports: []string{"8080/tcp"}, Source: "preserve", State: status.Granted},
		},
		Counters:   status.Counters{Closed: 12, Invalid: 3, Full: 1},
		LetThrough: []string{"ufw route allow in on gatelodge"},
		Drift:      []string{"add rule 100: lookup main"},
	}
}

func homeReport() status.Report {
	const gate = "gate.example.org:55107"
	return status.Report{
		Role: "home", Name: "attic", Version: "v0.1.0", Running: true, Since: now.Add(-time.Hour), Seen: now.Add(-time.Second),
		Gates: []status.Link{{
			Name: gate, Connected: true, Forwards: 3,
			Tunnel: status.Tunnel{
				Interface: "gatelodge", Up: true, Device: "embedded", DeviceWhy: "the kernel has no WireGuard", MTU: 1420,
				Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, Public: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
			},
			Peer: status.Peer{Endpoint: netip.MustParseAddrPort("198.51.100.1:55107"), LatestHandshake: now.Add(-84 * time.Second), Heard: now.Add(-time.Second),
				ReceivedBytes: 5 << 20, SentBytes: 3 << 30, RoundTrip: 800 * time.Microsecond},
		}},
		Forwards: []status.Forward{
			{Name: "game", Gate: gate, Ports: []string{"25565/tcp", "25565/udp"}, To: "192.168.1.20", Source: "masquerade", State: status.Granted,
				In: &status.Traffic{}, Out: &status.Traffic{}},
			{Name: "photos-of-the-family", Gate: gate, Ports: []string{"8443:443/tcp"}, Source: "preserve", State: status.Granted, Allow: []string{"203.0.113.0/24", "2001:db8::/32"},
				In: &status.Traffic{Bytes: 20 << 20}, Out: &status.Traffic{Bytes: 7 << 30}, Connections: 12345, Limited: 7, LastConnection: now.Add(-3 * time.Hour)},
			{Name: "web", Gate: gate, Ports: []string{"80/tcp", "443/tcp"}, Source: "preserve", State: status.Granted, Limit: "20/second",
				In: &status.Traffic{Bytes: 2048}, Out: &status.Traffic{Bytes: 1 << 20}, Connections: 3, LastConnection: now.Add(-12 * time.Second)},
		},
	}
}

// silentReport is a home whose gate is away.
func silentReport() status.Report {
	r := homeReport()
	r.Gates[0].Connected, r.Gates[0].Peer.Heard, r.Gates[0].Peer.RoundTrip = false, now.Add(-84*time.Second), 0
	r.Forwards[0].State, r.Forwards[1].State, r.Forwards[1].Reason = status.Pending, status.Refused, "the home barn has 8443/tcp"
	r.Problems = []string{"nothing comes back from the gate at 198.51.100.1: its machine is down or out of reach; on the gate, gatelodge gate homes shows whether it knows this home"}
	return r
}

// What a person sees, at the widths of terminals, and in a file (0). No line is
// wider than its terminal, unless a single word is.
func TestReports(t *testing.T) {
	for name, r := range map[string]status.Report{
		"gate":        gateReport(),
		"home":        homeReport(),
		"silent":      silentReport(),
		"empty":       {Role: "gate", Running: true, Since: now, Tunnel: status.Tunnel{Interface: "gatelodge", Device: "kernel"}},
		"not_running": status.NotRunning("home", "v0.1.0"),
	} {
		for _, columns := range []int{0, 60, 80, 120} {
			lines := view.Report(r, now, view.Style{Columns: columns})
			for _, l := range lines {
				if n := utf8.RuneCountInString(l); columns > 0 && n > columns {
					t.Errorf("%s: %d of %d columns: %q", name, n, columns, l)
				}
			}
			golden(t, fmt.Sprintf("%s_%d.txt", name, columns), strings.Join(lines, "\n")+"\n")
		}
	}
	golden(t, "home_colour.txt", strings.Join(view.Report(silentReport(), now, view.Style{Columns: 100, Colour: true}), "\n")+"\n")
}

func TestClockSetBackShowsNoNegativeTimes(t *testing.T) {
	for _, r := range []status.Report{gateReport(), homeReport(), silentReport()} {
		if got := strings.Join(view.Report(r, now.Add(-48*time.Hour), view.Style{}), "\n"); strings.Contains(got, "-4") || strings.Contains(got, " -") {
			t.Errorf("a negative time:\n%s", got)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-wanted +got):\n%s", name, diff)
	}
}
