package forward

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "7", "web", "web-2", "a--b", strings.Repeat("a", maxName)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"":                             "must not be empty",
		"Web":                          `character 'W' at place 1`,
		"-web":                         `character '-' at place 1`,
		"web-":                         `character '-' at place 4`,
		"-":                            `character '-' at place 1`,
		"a b":                          `character ' ' at place 2`,
		"a_b":                          `character '_' at place 2`,
		"a.b":                          `character '.' at place 2`,
		"bücher":                       `character 'ü' at place 2`,
		"a\nb":                         `character '\n' at place 2`,
		"a\x00":                        `character '\x00' at place 2`,
		"\xff":                         `at place 1`,
		strings.Repeat("a", maxName+1): "has 41 characters",
	} {
		err := CheckName(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", name, err, want)
		} else if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("the error repeats control characters: %q", err)
		}
	}
}

// A name that passes is safe wherever it goes: nft, TOML keys, host names.
func TestNamesAreSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9-]{1,41}`)).Draw(t, "name")
		safe := len(name) >= 1 && len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
			!strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
		for _, r := range name {
			safe = safe && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
		}
		if got := CheckName(name) == nil; got != safe {
			t.Fatalf("%q: accepted is %t", name, got)
		}
	})
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"20/second":    {20, time.Second},
		"1/minute":     {1, time.Minute},
		"1000000/hour": {1_000_000, time.Hour},
		"3/day":        {3, 24 * time.Hour},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "20", "/second", "0/second", "-1/second", "1000001/second", "20/seconds", "20/week", "20 / second", "20/second/day", "99999999999/day"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q became %s", text, got)
		}
	}
	if s := (Rate{}).String(); s != "" {
		t.Errorf("no bound is %q", s)
	}
}

func TestParseSource(t *testing.T) {
	for _, s := range []Source{Auto, Preserve, Masquerade} {
		if got, err := ParseSource(s.String()); err != nil || got != s {
			t.Errorf("%s became %s, %v", s, got, err)
		}
	}
	for _, text := range []string{"", "Auto", "snat", "preserve "} {
		if _, err := ParseSource(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestParseProtocol(t *testing.T) {
	for _, p := range []Protocol{TCP, UDP} {
		if got, err := ParseProtocol(p.String()); err != nil || got != p {
			t.Errorf("%s became %s, %v", p, got, err)
		}
	}
	if s := Protocol(1).String(); s != "protocol 1" {
		t.Errorf("got %q", s)
	}
}

func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		to   string
		want string
	}{{"", "IPv4 and IPv6"}, {"192.168.1.20", "IPv4"}, {"fd00::20", "IPv6"}} {
		var f Forward
		if c.to != "" {
			f.To = netip.MustParseAddr(c.to)
		}
		if got := f.Families().String(); got != c.want {
			t.Errorf("to %q: got %s, want %s", c.to, got, c.want)
		}
	}
	if s := (Families{}).String(); s != "no address family" {
		t.Errorf("got %q", s)
	}
}

// The gate learns the public half and nothing of what is behind it.
func TestPublished(t *testing.T) {
	f := Forward{
		Name: "ssh",
		Mappings: []Mapping{
			{Ports{TCP, Range{2222, 2222}}, Range{22, 22}},
			{Ports{UDP, Range{60000, 60010}}, Range{60000, 60010}},
		},
		To:     netip.MustParseAddr("192.168.1.20"),
		Source: Masquerade,
		Allow:  []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		Limit:  Limit{NewConnections: Rate{20, time.Second}, Connections: 200},
	}
	want := Published{
		Name:     "ssh",
		Ports:    []Ports{{TCP, Range{2222, 2222}}, {UDP, Range{60000, 60010}}},
		Families: Families{IPv4: true},
		Allow:    f.Allow,
		Limit:    f.Limit,
	}
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, f.Published(), prefixes); diff != "" {
		t.Errorf("a device of the LAN (-want +got):\n%s", diff)
	}
	f.To, want.Families, want.Masquerade = netip.Addr{}, Families{true, true}, true
	if diff := cmp.Diff(want, f.Published(), prefixes); diff != "" {
		t.Errorf("the home itself (-want +got):\n%s", diff)
	}
}
