package home

import (
	"net/netip"
	"strings"
	"testing"
)

func TestASilenceIsExplained(t *testing.T) {
	at := netip.MustParseAddrPort("198.51.100.1:55107")
	for _, c := range []struct {
		known bool
		port  uint16
		says  []string // in this order
		never string
	}{
		{true, 22, []string{"198.51.100.1 is up (TCP port 22 answers)", "set up again or has revoked", "UDP port 55107 is blocked", "new invite"}, "wrong machine"},
		{true, 0, []string{"machine is down or out of reach", "set up again or has revoked", "blocked", "new invite"}, "is up"},
		{false, 443, []string{"TCP port 443 answers", "wrong machine", "blocked"}, "revoked"},
		{false, 0, []string{"down or out of reach", "blocked"}, "revoked"},
	} {
		got, rest := silenceOf(at, c.known, c.port), ""
		rest = got
		for _, want := range c.says {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("known %t, port %d: %q does not say %q there", c.known, c.port, got, want)
			}
			rest = after
		}
		if strings.Contains(got, c.never) {
			t.Errorf("known %t, port %d: %q", c.known, c.port, got)
		}
	}
}
