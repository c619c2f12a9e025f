package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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

// A policy that takes some forwards away, or a home that publishes less, leaves
// the flows alone that are published as before.
func TestWhatStaysPublishedDoesNotPause(t *testing.T) {
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
	publish := func(ports string) func(string) string {
		return func(home string) string {
			_, after, _ := strings.Cut(home, "[forward.echo]\n")
			old, _, _ := strings.Cut(after, "\n")
			return strings.Replace(home, "[forward.echo]\n"+old, "[forward.echo]\nports = "+ports, 1)
		}
	}
	policy := func(text string) func(string) string { return func(gate string) string { return gate + text } }
	for _, change := range []struct {
		host *lab.Host
		what func(file string) string
	}{
		{l.Home(), publish(`["7000", "7005-7009"]`)},
		{l.Home(), publish(`["7000", "7005"]`)},
		{l.Home(), publish(`["7000"]` + "\nallow = [\"203.0.113.0/24\", \"2001:db8::/32\"]")},
		{l.Gate(), policy("\n[home.home]\nports = [\"7000-7012\"]\n")},
		{l.Gate(), policy("deny = [\"7012\"]\n")},
		{l.Gate(), policy("max_forwards = 1\n")},
	} {
		file := filepath.Join(change.host.Root(), "etc/gatelodge", change.host.Name+".toml")
		must(t, os.WriteFile(file, []byte(change.what(readFile(t, file))), 0o644))
		gatelodge(t, change.host, "apply", "--yes")
		if _, err := tcp.Write([]byte("still here\n")); err != nil {
			t.Errorf("after %s: the connection ended: %v", readFile(t, file), err)
		} else {
			read(t, tcp)
		}
	}
	silent(t, l, forward.TCP, netip.AddrPortFrom(l.Gate().IPv4, 7010))
	cancel()
	eventually(t, "the last answers", func(context.Context) error {
		if n := s.lost(); n > 0 {
			return fmt.Errorf("%d of %d datagrams are lost", n, s.sent.Load())
		}
		return nil
	})
	contains(t, l.Gate().Log(), "forwards=5 ") // the gate has seen what home has changed
}
