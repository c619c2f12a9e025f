package config

import (
	"net/netip"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewGateFile(t *testing.T) {
	d := GateDefaults{
		Endpoints:  []string{"vps.example.org:55107", "[2001:db8::1]:51820"},
		Prefix4:    netip.MustParsePrefix("10.123.0.0/24"),
		Prefix6:    netip.MustParsePrefix("fd12:3456:789a:1::/64"),
		ListenPort: 51820,
		SSHPorts:   []uint16{22, 2222},
		Input:      "leave",
	}
	file := NewGateFile(d)
	compareGolden(t, "testdata/new-gate.golden", string(file))
	got, err := ParseGate("gate.toml", file)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultGate()
	want.Tunnel.ListenPort, want.Tunnel.Prefix4, want.Tunnel.Prefix6 = d.ListenPort, d.Prefix4, d.Prefix6
	want.Public.Endpoints = d.Endpoints
	want.Firewall = GateFirewall{Protect: false, SSHPorts: d.SSHPorts}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewGateFileOfNothing(t *testing.T) {
	got, err := ParseGate("gate.toml", NewGateFile(GateDefaults{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaultGate(), got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewHomeFile(t *testing.T) {
	compareGolden(t, "testdata/new-home.golden", string(NewHomeFile()))
	got, err := ParseHome("home.toml", NewHomeFile())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaultHome(), got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// option is a commented-out key or header of a template.
var option = regexp.MustCompile(`(?m)^# ([a-z0-9_]+ = |\[)`)

// What a template shows in comments is right: without the comment signs it
// reads as the defaults, but for the keys whose value is an example.
func TestTemplateComments(t *testing.T) {
	gateText := option.ReplaceAllString(string(NewGateFile(GateDefaults{})), "$1")
	gate, err := ParseGate("gate.toml", []byte(gateText))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(gate.Policy.Deny); n != 1 || len(gate.Public.Endpoints) != 1 || len(gate.Firewall.Accept) != 1 || len(gate.Firewall.AcceptProtocols) != 1 || len(gate.Public.Addresses) != 1 {
		t.Errorf("the examples were not read: %+v", gate)
	}
	gate.Policy.Deny, gate.Public = nil, Public{}
	gate.Firewall.Accept, gate.Firewall.AcceptProtocols = nil, nil
	if diff := cmp.Diff(defaultGate(), gate, byValue); diff != "" {
		t.Errorf("gate (-want +got):\n%s", diff)
	}
	home, err := ParseHome("home.toml", []byte(option.ReplaceAllString(string(NewHomeFile()), "$1")))
	if err != nil {
		t.Fatal(err)
	}
	if len(home.Forwards) != 1 || len(home.Forwards[0].Mappings) != 3 || home.Forwards[0].Limit.Connections != 200 {
		t.Errorf("the example forward was not read: %+v", home.Forwards)
	}
	home.Forwards = nil
	if diff := cmp.Diff(defaultHome(), home, byValue); diff != "" {
		t.Errorf("home (-want +got):\n%s", diff)
	}
}
