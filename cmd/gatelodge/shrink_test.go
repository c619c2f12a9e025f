package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// stream asks an echo over UDP every few milliseconds and counts what comes
// back, until its context ends.
type stream struct{ sent, answered atomic.Int64 }

func (s *stream) run(ctx context.Context, c net.Conn) {
	go func() {
		for buf := make([]byte, 2048); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			s.answered.Add(1)
		}
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := c.Write([]byte("tick")); err == nil {
				s.sent.Add(1)
			}
		}
	}
}

// lost waits until what is under way has come back.
func (s *stream) lost() int64 { return s.sent.Load() - s.answered.Load() }

// A policy that takes some forwards away leaves the flows of the others alone.
func TestAPolicyThatShrinksSparesWhatStaysGranted(t *testing.T) {
	l := newJoinedLab(t)
	for i := range 4 {
		must(t, l.Home().Expose(t.Context(), fmt.Sprint(7010+i), "--name", fmt.Sprintf("side-%d", i)))
	}
	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	udp, err := l.Visitor().Dial(t.Context(), "udp", at.String())
	must(t, err)
	defer udp.Close()
	tcp, err := l.Visitor().Dial(t.Context(), "tcp", at.String())
	must(t, err)
	defer tcp.Close()
	must(t, tcp.SetDeadline(time.Now().Add(time.Minute)))
	read(t, tcp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var s stream
	go s.run(ctx, udp)
	file := filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")
	for i, policy := range []string{
		"\n[home.home]\nports = [\"7000-7012\"]\n",
		"deny = [\"7012\"]\n",
		"max_forwards = 1\n",
	} {
		appendTo(t, file, policy)
		gatelodge(t, l.Gate(), "apply")
		start := time.Now()
		if _, err := tcp.Write([]byte("still here\n")); err != nil {
			t.Errorf("policy %d: the connection ended: %v", i, err)
		} else {
			read(t, tcp)
			t.Logf("policy %d: TCP answered after %v", i, time.Since(start))
		}
		t.Logf("policy %d: %d of %d lost", i, s.lost(), s.sent.Load())
	}
	silent(t, l, forward.TCP, netip.AddrPortFrom(l.Gate().IPv4, 7010))
	cancel()
	eventually(t, "the last answers", func(context.Context) error {
		if n := s.lost(); n > 0 {
			return fmt.Errorf("%d of %d datagrams are lost", n, s.sent.Load())
		}
		return nil
	})
	_ = lab.Options{}
}
