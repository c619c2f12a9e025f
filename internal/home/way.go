package home

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/reach"
)

// lookAtTunnel looks at the way to the gate.
func (x examination) lookAtTunnel(ctx context.Context) doctor.Tunnel {
	x.link.mu.Lock()
	t := doctor.Tunnel{Tried: x.link.endpoint, Answered: x.link.memory.LastEndpoint}
	mark := x.link.config.Marks.Outer
	x.link.mu.Unlock()
	var wait sync.WaitGroup
	wait.Go(func() { t.Names = lookUp(ctx, x.link.endpoints()) })
	wait.Go(func() {
		const tries = 2 // a single packet may be lost
		for range tries {
			rtt, err := x.link.keep.ping(ctx)
			if t.Answers, t.RoundTrip = err == nil, rtt; t.Answers {
				return
			}
		}
		t.Alone = x.link.keep.daemonAlone(ctx)
		t.Carries = t.Alone || x.link.keep.carries(ctx)
	})
	wait.Wait()
	if t.Tried.IsValid() {
		_, err := x.link.machine.MTUTo(ctx, t.Tried.Addr(), mark)
		t.Route = err == nil
	}
	t.Silence = x.link.keep.silence()
	t.GaveWay, t.Rival = x.link.hasLeft(), x.link.keep.hasRival()
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
			addrs, err := reach.Resolve(ctx, e)
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
