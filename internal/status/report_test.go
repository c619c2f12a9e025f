package status_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/status"
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
			Name: "attic", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, Connected: true, Forwards: 1, Refused: 1,
			Peer: status.Peer{Endpoint: netip.MustParseAddrPort("192.0.2.2:4711"), LatestHandshake: now.Add(-31 * time.Second), ReceivedBytes: 5 << 20, SentBytes: 3 << 30},
		}},
		Invites: []status.Invite{{Name: "cellar", Expires: now.Add(23 * time.Hour)}},
		Forwards: []status.Forward{
			{Name: "web", Home: "attic", Ports: []string{"80/tcp", "443/tcp"}, Source: "preserve", State: status.Granted,
				In: &status.Traffic{Packets: 10, Bytes: 2048}, Out: &status.Traffic{Packets: 20, Bytes: 1 << 20}, Connections: 3},
			{Name: "ssh", Home: "attic", Ports: []string{"22/tcp"}, Source: "preserve", State: status.Refused, Reason: "the gate needs 22/tcp (ssh) itself"},
		},
		Counters: status.Counters{Closed: 12, Invalid: 3},
		Drift:    []string{"add rule 100: lookup main"},
		Problems: []string{},
	}
}

func homeReport() status.Report {
	return status.Report{
		Role: "home", Name: "attic", Version: "v0.1.0", Running: true, Since: now.Add(-time.Minute),
		Seen: now.Add(-time.Second),
		Gates: []status.Link{{
			Name: "gate.example.org:55107", Pending: 1,
			Tunnel: status.Tunnel{
				Interface: "gatelodge", Up: true, Device: "embedded", DeviceWhy: "the kernel has no WireGuard", MTU: 1420,
				Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")},
			},
			Peer: status.Peer{Endpoint: netip.MustParseAddrPort("198.51.100.1:55107")},
		}},
		Forwards: []status.Forward{
			{Name: "game", Gate: "gate.example.org:55107", Ports: []string{"25565/tcp"}, To: "192.168.1.20", Source: "masquerade", State: status.Pending},
		},
		Problems: []string{"this machine has no route to the gate"},
	}
}

func TestJSONKeepsItsNames(t *testing.T) {
	for name, r := range map[string]status.Report{"gate": gateReport(), "home": homeReport(), "not_running": status.NotRunning("home", "v0.1.0")} {
		got, err := json.MarshalIndent(r.Complete(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(got, []byte("null")) {
			t.Errorf("%s: a list is null:\n%s", name, got)
		}
		golden(t, name+".json", append(got, '\n'))
	}
}

func TestWhatWorks(t *testing.T) {
	up, link, away := status.Tunnel{Up: true}, status.Link{Connected: true}, status.Link{}
	for _, c := range []struct {
		name string
		is   status.Report
		want bool
	}{
		{"no daemon", status.NotRunning("home", ""), false},
		{"a gate", status.Report{Role: "gate", Tunnel: up}, true},
		{"a gate without its interface", status.Report{Role: "gate"}, false},
		{"a home", status.Report{Role: "home", Gates: []status.Link{link}}, true},
		{"a home that one of two gates answers", status.Report{Role: "home", Gates: []status.Link{link, away}}, false},
		{"a home whose interface is up", status.Report{Role: "home", Gates: []status.Link{{Tunnel: up}}}, false},
	} {
		if got := c.is.Works(); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-wanted +got):\n%s", name, diff)
	}
}
