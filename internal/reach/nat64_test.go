package reach

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// fakeNames is a name server with one answer to the name of RFC 7050.
type fakeNames struct {
	answer []string
	err    error
	asked  int
}

func (f *fakeNames) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if f.asked++; network != "ip6" || host != "ipv4only.arpa." {
		return nil, errors.New("another question: " + network + " " + host)
	}
	var addrs []netip.Addr
	for _, a := range f.answer {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, f.err
}

// The examples of RFC 6052, section 2.4, for 192.0.2.33.
func TestTranslatedAddresses(t *testing.T) {
	for prefix, want := range map[string]string{
		"2001:db8::/32":             "2001:db8:c000:221::",
		"2001:db8:100::/40":         "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":         "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56":     "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64":     "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96":     "2001:db8:122:344::c000:221",
		"64:ff9b::/96":              "64:ff9b::c000:221",
		"2001:db8:122:344:0:1::/96": "2001:db8:122:344:0:1:c000:221",
	} {
		p := netip.MustParsePrefix(prefix)
		if got := translate(p, netip.MustParseAddr("192.0.2.33")); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
		for _, known := range ipv4OnlyAddrs { // and each is found again
			if got, ok := translationOf(translate(p, known)); !ok || got != p {
				t.Errorf("%s: found as %s, %t", prefix, got, ok)
			}
		}
	}
}

func TestTranslationsAreBelievedAsFarAsTheyMakeSense(t *testing.T) {
	for name, c := range map[string]struct {
		answer []string
		err    error
		want   []string
	}{
		"no NAT64":         {nil, errors.New("no such host"), nil},
		"the usual one":    {[]string{"64:ff9b::c000:aa", "64:ff9b::c000:ab"}, nil, []string{"64:ff9b::/96"}},
		"one of its own":   {[]string{"2001:db8:64::c000:aa"}, nil, []string{"2001:db8:64::/96"}},
		"two of them":      {[]string{"64:ff9b::c000:aa", "2001:db8:64::c000:ab"}, nil, []string{"64:ff9b::/96", "2001:db8:64::/96"}},
		"something else":   {[]string{"2001:db8::1", "fe80::1"}, nil, nil},
		"an IPv4 address":  {[]string{"192.0.0.170", "::ffff:192.0.0.170"}, nil, nil},
		"far too many":     {manyPrefixes(100), nil, nil},
		"a /64, long form": {[]string{"2001:db8:122:344:c0:0:aa00:0"}, nil, []string{"2001:db8:122:344::/64"}},
	} {
		var got []string
		for _, p := range translations(t.Context(), &fakeNames{answer: c.answer, err: c.err}) {
			got = append(got, p.String())
		}
		if name == "far too many" {
			if len(got) != maxTranslations {
				t.Errorf("%s: %d", name, len(got))
			}
		} else if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func manyPrefixes(n int) []string {
	var list []string
	addr := netip.MustParsePrefix("2001:db8::/96")
	for i := range n {
		b := translate(addr, ipv4OnlyAddrs[0]).As16()
		b[7] = byte(i)
		list = append(list, netip.AddrFrom16(b).String())
	}
	return list
}

// A home without IPv4 reaches a gate of IPv4 by the network's NAT64, after all
// that it can reach by itself; with IPv4, nobody is asked for one.
func TestAGateIsReachedByNAT64(t *testing.T) {
	only6 := func(_ context.Context, a netip.Addr) bool { return a.Is6() }
	both := func(context.Context, netip.Addr) bool { return true }
	none := func(context.Context, netip.Addr) bool { return false }
	nat64 := []string{"64:ff9b::c000:aa"}
	for name, c := range map[string]struct {
		found  []string
		routed func(context.Context, netip.Addr) bool
		answer []string
		want   []string
		asks   int
	}{
		"an IPv4 literal":        {[]string{"198.51.100.1:55107"}, only6, nat64, []string{"[64:ff9b::c633:6401]:55107"}, 1},
		"both families":          {[]string{"198.51.100.1:55107", "[2001:db8::1]:55107"}, only6, nat64, []string{"[2001:db8::1]:55107", "[64:ff9b::c633:6401]:55107"}, 1},
		"with IPv4":              {[]string{"198.51.100.1:55107"}, both, nat64, []string{"198.51.100.1:55107"}, 0},
		"a gate of IPv6":         {[]string{"[2001:db8::1]:55107"}, only6, nat64, []string{"[2001:db8::1]:55107"}, 0},
		"no NAT64":               {[]string{"198.51.100.1:55107"}, only6, nil, nil, 1},
		"no network at all":      {[]string{"198.51.100.1:55107"}, none, nat64, nil, 1},
		"two addresses, by both": {[]string{"198.51.100.1:1", "198.51.100.2:2"}, only6, nat64, []string{"[64:ff9b::c633:6401]:1", "[64:ff9b::c633:6402]:2"}, 1},
	} {
		var found, want []netip.AddrPort
		for _, a := range c.found {
			found = append(found, netip.MustParseAddrPort(a))
		}
		for _, a := range c.want {
			want = append(want, netip.MustParseAddrPort(a))
		}
		names := &fakeNames{answer: c.answer}
		if got := Usable(t.Context(), names, found, c.routed); !slices.Equal(got, want) || names.asked != c.asks {
			t.Errorf("%s: %v after %d questions, want %v after %d", name, got, names.asked, want, c.asks)
		}
	}
}
