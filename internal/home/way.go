package home

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/gatelodge/gatelodge/internal/doctor"
)

// lookAtTunnel looks at the way to the gate.
func (l *link) lookAtTunnel(ctx context.Context) doctor.Tunnel {
	l.mu.Lock()
	t := doctor.Tunnel{Tried: l.endpoint, Answered: l.memory.LastEndpoint}
	mark := l.config.Marks.Outer
	l.mu.Unlock()
	var wait sync.WaitGroup
	wait.Go(func() { t.Names = lookUp(ctx, l.endpoints()) })
	wait.Go(func() {
		const tries = 2 // a single packet may be lost
		for range tries {
			rtt, err := l.keep.ping(ctx)
			if t.Answers, t.RoundTrip = err == nil, rtt; t.Answers {
				return
			}
		}
		t.Alone = l.keep.daemonAlone(ctx)
		t.Carries = t.Alone || l.keep.carries(ctx)
	})
	wait.Wait()
	if t.Tried.IsValid() {
		_, err := l.machine.MTUTo(ctx, t.Tried.Addr(), mark)
		t.Route = err == nil
	}
	t.Silence = l.keep.silence()
	t.GaveWay, t.Rival = l.hasLeft(), l.keep.hasRival()
	return t
}

// lookUp looks all endpoints up, as the keeper would.
func lookUp(ctx context.Context, endpoints []string) []doctor.Name {
	names := make([]doctor.Name, len(endpoints))
	var wait sync.WaitGroup
	for i, e := range endpoints {
		wait.Go(func() {
			name, _, err := net.SplitHostPort(e)
			_, notAddr := netip.ParseAddr(name)
			n := doctor.Name{Endpoint: e, Literal: err == nil && notAddr == nil}
			addrs, err := resolve(ctx, e)
			if err != nil {
				n.Error = err.Error()
			}
			for _, a := range addrs {
				n.Addresses = append(n.Addresses, a.Addr())
			}
			names[i] = n
		})
	}
	wait.Wait()
	return names
}
