package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// Somebody reloads the ruleset on both sides, again and again, while root at
// the gate and root at home knock at ports of the other that are not offered.
func TestNothingSlipsThroughWhileTheRulesetIsReloaded(t *testing.T) {
	const rounds, closed = 100, "7009"
	l := newJoinedLab(t)
	sides := []struct {
		to, from *lab.Host
		address  string
	}{
		{l.Home(), l.Gate(), "10.99.0.2"},
		{l.Gate(), l.Home(), "10.99.0.1"},
	}
	var arrived, knocks atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var knocking sync.WaitGroup
	for _, s := range sides {
		countArrivals(t, s.to, ":"+closed, &arrived)
		knocking.Go(func() { knock(ctx, s.from, net.JoinHostPort(s.address, closed), &knocks) })
	}
	var all, longest time.Duration
	for range rounds {
		before := knocks.Load()
		for _, s := range sides {
			run(t, s.to, "nft", "flush", "ruleset")
		}
		began := time.Now()
		at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
		eventually(t, "visitors are served again", func(ctx context.Context) error {
			_, err := lab.ProbeTCP(ctx, l.Visitor(), at)
			if err == nil && knocks.Load() == before {
				err = errors.New("nobody knocks")
			}
			return err
		})
		away := time.Since(began)
		all, longest = all+away, max(longest, away)
	}
	reachable(t, l)
	cancel()
	knocking.Wait()
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d packets and connections to ports that are not offered have arrived", n)
	}
	t.Logf("%d knocks in %d rounds; visitors were served again after %s, and %s at most", knocks.Load(), rounds, (all / rounds).Round(time.Millisecond), longest.Round(time.Millisecond))
}

// countArrivals listens on a host, and counts packets and connections.
func countArrivals(t *testing.T, h *lab.Host, at string, arrived *atomic.Int64) {
	t.Helper()
	packets, err := h.ListenPacket("udp", at)
	must(t, err)
	connections, err := h.Listen("tcp", at)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(packets.Close(), connections.Close())) })
	go func() {
		for buf := make([]byte, 100); ; arrived.Add(1) {
			if _, _, err := packets.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	go func() {
		for ; ; arrived.Add(1) {
			c, err := connections.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}

// knock sends packets and begins connections until ctx ends.
func knock(ctx context.Context, from *lab.Host, at string, knocks *atomic.Int64) {
	const pause = 5 * time.Millisecond // as long as a connection may take, and between two packets
	for ; ctx.Err() == nil; knocks.Add(1) {
		if c, err := from.Dial(ctx, "udp", at); err == nil {
			_, _ = c.Write([]byte("hello?"))
			_ = c.Close()
		}
		brief, cancel := context.WithTimeout(ctx, pause)
		if c, err := from.Dial(brief, "tcp", at); err == nil {
			_ = c.Close()
		}
		cancel()
	}
}
