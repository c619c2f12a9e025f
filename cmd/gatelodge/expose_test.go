package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// Expose announces a port where visitors find somebody, and says which do not.
func TestExposeSaysWhoIsServed(t *testing.T) {
	l := newJoinedLab(t)
	v4, v6 := l.Gate().IPv4, l.Gate().IPv6
	for i, c := range []struct {
		network, at string
		served      []netip.Addr
		published   string
		says        string
	}{
		{"tcp4", "0.0.0.0:", []netip.Addr{v4}, " at 198.51.100.1 →", "visitors who come to 2001:db8:a::1 are refused"},
		{"tcp6", "[::]:", []netip.Addr{v6}, " at 2001:db8:a::1 →", "visitors who come to 198.51.100.1 are refused"},
		{"tcp", ":", []netip.Addr{v4, v6}, " at 198.51.100.1 and 2001:db8:a::1 →", ""},
		{"tcp", "127.0.0.1:", nil, " at 198.51.100.1 and 2001:db8:a::1 →", "listens on 127.0.0.1 only"},
		{"tcp", "", nil, " at 198.51.100.1 and 2001:db8:a::1 →", "nothing seems to listen there"},
	} {
		port := uint16(7020 + i)
		if c.at != "" {
			s, err := l.Home().Listen(c.network, c.at+fmt.Sprint(port))
			must(t, err)
			defer s.Close()
		}
		out := run(t, l.Home(), "sh", "-c", fmt.Sprintf("gatelodge expose %d/tcp 2>&1", port))
		contains(t, out, c.published, c.says)
		if c.says == "" && strings.Count(out, "\n") != 1 {
			t.Errorf("of a service that all reach it says %q", out)
		}
		for _, gate := range []netip.Addr{v4, v6} {
			at := netip.AddrPortFrom(gate, port)
			eventually(t, fmt.Sprintf("%s at %s is as announced", c.network+c.at, at), func(ctx context.Context) error {
				return isAnswered(ctx, l, at, slices.Contains(c.served, gate))
			})
		}
	}
}

// isAnswered compares what a visitor gets with what it should be: a connection,
// or a refusal.
func isAnswered(ctx context.Context, l *lab.Lab, at netip.AddrPort, want bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := l.Visitor().Dial(ctx, "tcp", at.String())
	switch {
	case err == nil && want:
		return c.Close()
	case err == nil:
		return errors.Join(errors.New("it is answered"), c.Close())
	case !want && errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}
